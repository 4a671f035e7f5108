import type { Announcer } from './announcer.ts'
import { setText } from './dom.ts'
import { say } from './language.ts'

const ANNOUNCE_AFTER_MS = 2_000

/** The bell: how many are unread, and whether the inbox is open. */
export function bell(
  button: HTMLButtonElement,
  badge: HTMLElement,
  panel: HTMLElement,
  { polite }: Announcer,
): (unread: number) => void {
  let announced = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  button.addEventListener('click', () => {
    panel.hidden = !panel.hidden
    button.setAttribute('aria-expanded', String(!panel.hidden))
    if (!panel.hidden) panel.focus()
  })

  return (unread) => {
    button.setAttribute('aria-label', unread === 0 ? say('bell.none') : say('bell.unread', { count: unread }))
    setText(badge, unread > 99 ? '99+' : String(unread))
    badge.hidden = unread === 0
    if (unread === announced) return
    clearTimeout(timer)
    timer = setTimeout(() => {
      announced = unread
      polite(unread === 0 ? say('bell.none') : say('announce.unread', { count: unread }))
    }, ANNOUNCE_AFTER_MS)
  }
}
