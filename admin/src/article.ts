import { safeLink, type Level, type Notification } from '../../sdk/src/sdk.ts'
import { element, setText } from './dom.ts'
import { currentLanguage, say } from './language.ts'

export type ArticleActions = { toggleRead: (shown: Notification) => void; archive: (shown: Notification) => void }

/** One notification in the list. `show` changes it in place, so that the focus stays where it is. */
export type Article = { root: HTMLElement; show: (notification: Notification, place: number, size: number) => void }

const MARKS: Record<Level, string> = { info: 'i', warning: '!', error: '×', critical: '‼' }

/** The level as a sign, with its name for those who do not see it. */
export const levelMark = (level: Level): HTMLElement =>
  element('span', { class: `mark mark-${level}`, role: 'img', 'aria-label': say(`level.${level}`) }, MARKS[level])

/** The offered link, if it may be offered. */
export function ctaLink({ cta }: Notification): HTMLElement | null {
  const href = cta && safeLink(cta.url)
  if (!cta || href === null) return null
  return element('a', { class: 'cta', href, target: '_blank', rel: 'noopener noreferrer', dir: 'auto' }, cta.label)
}

export function article(id: string, { toggleRead, archive }: ArticleActions): Article {
  const titleId = `title-${id}`
  const textId = `text-${id}`
  const mark = element('span', { class: 'mark-place' })
  const unread = element('span', { class: 'unread' })
  const title = element('h3', { id: titleId, dir: 'auto' })
  const text = element('p', { id: textId, dir: 'auto' })
  const progress = element('div', { class: 'progress' })
  const link = element('div', { class: 'link' })
  const time = element('time')
  const read = element('button', { type: 'button', class: 'quiet' })
  const away = element('button', { type: 'button', class: 'quiet' })
  const root = element(
    'article',
    { class: 'item', tabindex: '0', 'aria-labelledby': titleId, 'aria-describedby': textId, 'data-id': id },
    mark,
    element(
      'div',
      { class: 'item-body' },
      element('div', { class: 'item-head' }, title, unread, time),
      text,
      progress,
      element('div', { class: 'item-foot' }, link, element('div', { class: 'item-actions' }, read, away)),
    ),
  )
  let shown: Notification | null = null
  read.addEventListener('click', () => shown && toggleRead(shown))
  away.addEventListener('click', () => shown && archive(shown))

  return {
    root,
    show(notification, place, size) {
      shown = notification
      const { level, is_read, created_at, message } = notification
      root.className = `item level-${level} ${is_read ? 'is-read' : 'is-unread'}`
      root.setAttribute('aria-posinset', String(place))
      root.setAttribute('aria-setsize', String(size))
      mark.replaceChildren(levelMark(level))
      setText(title, notification.title)
      setText(text, message)
      text.hidden = message === ''
      setText(unread, is_read ? '' : say('item.unread'))
      unread.hidden = is_read
      time.dateTime = created_at
      time.title = new Date(created_at).toLocaleString(currentLanguage())
      setText(time, timeOf(created_at))
      showProgress(progress, notification)
      link.replaceChildren(...[ctaLink(notification)].filter((one) => one !== null))
      nameButton(read, say(is_read ? 'item.unreadAgain' : 'item.read'), notification)
      nameButton(away, say('item.archive'), notification)
    },
  }
}

/** Every button of the list has a name of its own, which begins with what is written on it. */
function nameButton(button: HTMLButtonElement, action: string, { title }: Notification): void {
  setText(button, action)
  button.setAttribute('aria-label', say('item.named', { action, title }))
}

function showProgress(place: HTMLElement, { data, title }: Notification): void {
  const percent = data['percent']
  place.hidden = typeof percent !== 'number'
  if (typeof percent !== 'number') return
  const value = Math.max(0, Math.min(100, percent))
  const bar = place.querySelector('progress') ?? element('progress', { max: '100' })
  const words = place.querySelector('span') ?? element('span', { 'aria-hidden': 'true' })
  if (!bar.isConnected) place.append(bar, words)
  bar.value = value
  bar.setAttribute('aria-label', say('item.progress', { title }))
  setText(words, `${Math.round(value)} %`)
}

function timeOf(iso: string): string {
  const date = new Date(iso)
  const isToday = date.toDateString() === new Date().toDateString()
  const clock: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' }
  return isToday
    ? date.toLocaleTimeString(currentLanguage(), { ...clock, second: '2-digit' })
    : date.toLocaleString(currentLanguage(), { ...clock, day: 'numeric', month: 'short' })
}
