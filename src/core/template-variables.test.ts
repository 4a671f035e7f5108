import { expect, suite, test } from 'vitest'
import { templateVariables } from './template-variables.ts'

const type = {
  id: '1',
  company_id: '',
  version: 1,
  type: 'a',
  recipients: { path: 'user_id' },
  channels: [],
  level: 'error',
} as const
const user = { user_id: '42', locale: null, time_zone: 'Europe/Moscow', profile: { name: 'Анна', user_id: 'forged' } }

suite('the variables of a template', () => {
  test('are the user, the event, its data and links', () => {
    const delivery = { event: { type: 'a', data: { n: 1, m: 1 } }, vars: { m: 2 } }

    expect(templateVariables(delivery, { ...type, channels: [] }, user, 'ru', 'https://example.com')).toEqual({
      user: { name: 'Анна', user_id: '42', locale: 'ru', time_zone: 'Europe/Moscow' },
      event: { type: 'a', level: 'error', data: { n: 1, m: 1 } },
      data: { n: 1, m: 2 },
      links: { inbox: 'https://example.com' },
    })
  })

  test('let the event say its own level', () => {
    const delivery = { event: { type: 'a', level: 'critical' as const, data: {} }, vars: null }

    expect(templateVariables(delivery, { ...type, channels: [] }, user, 'ru', '').event.level).toBe('critical')
    expect(templateVariables({ event: { type: 'a', data: {} }, vars: null }, null, user, 'ru', '').event.level).toBe(
      'info',
    )
  })
})
