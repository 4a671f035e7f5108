import type { Notification } from '../../sdk/src/sdk.ts'
import { ctaLink, levelMark } from './article.ts'
import { element } from './dom.ts'
import { say } from './language.ts'

const SHOWN_AT_ONCE = 3
const SHORTEST_MS = 6_000
const MS_PER_CHARACTER = 1_000 / 120

export type Toasts = {
  show: (notification: Notification) => void
  /** Takes away the cards of what was read or archived meanwhile, here or elsewhere. */
  keepOnly: (isUnread: (id: string) => boolean) => void
}

/**
 * Small cards for what just came. They never take the focus; F6 goes to them, Escape closes the focused one. A card that
 * offers something to do, or tells of a fault, stays until it is dismissed; everything is in the inbox anyway.
 */
export function toasts(region: HTMLElement): Toasts {
  let cameFrom: Element | null = null
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'F6' || region.childElementCount === 0) return
    event.preventDefault()
    if (!region.contains(document.activeElement)) cameFrom = document.activeElement
    focusFirst()
  })

  return { show, keepOnly }

  function show(notification: Notification): void {
    const { id, title, message, level } = notification
    const dismiss = element(
      'button',
      { type: 'button', class: 'icon-button', 'aria-label': say('toast.dismiss', { title }) },
      '✕',
    )
    const card = element(
      'div',
      { class: `toast level-${level}`, role: 'group', tabindex: '-1', 'aria-label': title, 'data-id': id },
      levelMark(level),
      element(
        'div',
        { class: 'toast-text' },
        element('strong', { dir: 'auto' }, title),
        element('p', { dir: 'auto' }, message),
        ctaLink(notification),
      ),
      dismiss,
    )
    const close = (): void => {
      const hadFocus = card.contains(document.activeElement)
      card.remove()
      if (hadFocus) focusFirst()
    }
    dismiss.addEventListener('click', close)
    card.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') close()
    })
    // One notification is one card, also when it changes quickly.
    region.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove()
    region.prepend(card)
    for (const old of [...region.children].slice(SHOWN_AT_ONCE)) old.remove()
    if (vanishes(notification))
      closeLater(card, close, SHORTEST_MS + (title.length + message.length) * MS_PER_CHARACTER)
  }

  /** The next card, or back to where F6 was pressed. */
  function focusFirst(): void {
    const target = region.querySelector('.toast') ?? cameFrom
    if (target instanceof HTMLElement) target.focus()
  }

  function keepOnly(isUnread: (id: string) => boolean): void {
    for (const card of region.querySelectorAll<HTMLElement>('.toast')) {
      if (!isUnread(card.dataset['id'] ?? '')) card.remove()
    }
  }
}

const vanishes = ({ cta, level }: Notification): boolean => cta === null && (level === 'info' || level === 'warning')

/** Counts only time in which the card could be read and nobody is busy with it. */
function closeLater(card: HTMLElement, close: () => void, ms: number): void {
  const STEP_MS = 250
  let left = ms
  const timer = setInterval(() => {
    if (!card.isConnected) return clearInterval(timer)
    if (document.hidden || card.matches(':hover, :focus-within')) return
    left -= STEP_MS
    if (left > 0) return
    clearInterval(timer)
    close()
  }, STEP_MS)
}
