import type { Language } from './texts.ts'

/** An event as a service sends it (the universal form). */
export type DemoEvent = {
  user_id: string
  type: string
  title: string
  body: string
  level?: string
  channels?: string[]
  cta?: { label: string; url: string }
  data?: Record<string, unknown>
}

export const PRESETS = ['done', 'progress', 'action', 'alert', 'message'] as const
export type Preset = (typeof PRESETS)[number]

/** The example events of the page, in the reader's language. */
export function presetEvent(preset: Preset, userId: string, language: Language): DemoEvent {
  return { user_id: userId, ...EVENTS[preset][language] }
}

/** The steps of a job: one notification that changes in place, because all steps name one job. */
export function progressEvents(userId: string, language: Language, jobId: string): DemoEvent[] {
  const event = presetEvent('progress', userId, language)
  return [0, 15, 35, 60, 85, 100].map((percent) => ({
    ...event,
    data: { ...event.data, job_id: jobId, percent },
  }))
}

const EVENTS: Record<Preset, Record<Language, Omit<DemoEvent, 'user_id'>>> = {
  done: {
    en: {
      type: 'job.done',
      channels: ['ws', 'email'],
      title: 'Your report is ready',
      body: '12 pages, made in 40 seconds.',
      cta: { label: 'Open the report', url: '/outbox' },
    },
    ru: {
      type: 'job.done',
      channels: ['ws', 'email'],
      title: 'Отчёт готов',
      body: '12 страниц за 40 секунд.',
      cta: { label: 'Открыть отчёт', url: '/outbox' },
    },
  },
  progress: {
    en: {
      type: 'job.progress',
      title: 'Making your report',
      body: 'Reading the numbers',
      data: { job_id: 'report-1', percent: 35 },
    },
    ru: {
      type: 'job.progress',
      title: 'Готовим отчёт',
      body: 'Читаем цифры',
      data: { job_id: 'report-1', percent: 35 },
    },
  },
  action: {
    en: {
      type: 'action.required',
      title: 'Approve the payment?',
      body: '240 € to Northern Paper, for the invoice of October.',
      level: 'warning',
      data: {
        action_id: 'payment-1',
        options: [
          { value: 'approve', label: 'Approve' },
          { value: 'decline', label: 'Decline' },
        ],
      },
      cta: { label: 'See the invoice', url: '/outbox' },
    },
    ru: {
      type: 'action.required',
      title: 'Подтвердить платёж?',
      body: '24 000 ₽ компании «Северная бумага» по октябрьскому счёту.',
      level: 'warning',
      data: {
        action_id: 'payment-1',
        options: [
          { value: 'approve', label: 'Подтвердить' },
          { value: 'decline', label: 'Отклонить' },
        ],
      },
      cta: { label: 'Посмотреть счёт', url: '/outbox' },
    },
  },
  alert: {
    en: {
      type: 'system.alert',
      title: 'The payment gateway does not answer',
      body: 'Payments fail since 10:42. The team has been told.',
      level: 'critical',
    },
    ru: {
      type: 'system.alert',
      title: 'Платёжный шлюз не отвечает',
      body: 'Платежи не проходят с 10:42. Команда уже знает.',
      level: 'critical',
    },
  },
  message: {
    en: {
      type: 'message.new',
      title: 'Maria wrote to you',
      body: 'Shall we meet at ten tomorrow?',
      data: { thread_id: 'maria' },
    },
    ru: {
      type: 'message.new',
      title: 'Мария написала вам',
      body: 'Встретимся завтра в десять?',
      data: { thread_id: 'maria' },
    },
  },
}
