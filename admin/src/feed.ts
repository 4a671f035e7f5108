import type { Inbox, Notification } from '../../sdk/src/sdk.ts'
import { article, type Article, type ArticleActions } from './article.ts'
import { setText } from './dom.ts'
import { say } from './language.ts'

type Parts = {
  list: HTMLElement
  empty: HTMLElement
  showNew: HTMLButtonElement
  showOlder: HTMLButtonElement
}

/**
 * The list of notifications. While somebody is in it with the keyboard, what is new waits behind a button instead of
 * moving everything under the reader; changes of what is shown appear in place.
 */
export function feed(inbox: Inbox, { list, empty, showNew, showOlder }: Parts, actions: ArticleActions): () => void {
  const articles = new Map<string, Article>()
  showOlder.addEventListener('click', () => void inbox.loadMore())
  showNew.addEventListener('click', () => {
    render(inbox.get().notifications)
    list.querySelector<HTMLElement>('article')?.focus()
  })
  list.addEventListener('keydown', move)
  list.addEventListener('focusout', ({ relatedTarget }) => {
    if (!(relatedTarget instanceof Node && list.contains(relatedTarget))) refresh(false)
  })
  return () => refresh(list.contains(document.activeElement))

  function refresh(isReading: boolean): void {
    const { notifications, isLoading, hasMore } = inbox.get()
    const isFirst = articles.size === 0
    const waiting = isReading ? notifications.filter(({ id }) => !articles.has(id)) : []
    render(notifications.filter((one) => !waiting.includes(one)))
    list.setAttribute('aria-busy', String(isLoading && isFirst))
    setText(empty, say(isLoading && isFirst ? 'inbox.loading' : 'inbox.empty'))
    empty.hidden = notifications.length > 0
    showNew.hidden = waiting.length === 0
    setText(showNew, say('inbox.new', { count: waiting.length }))
    showOlder.hidden = !hasMore
  }

  function render(notifications: readonly Notification[]): void {
    const size = inbox.get().hasMore ? -1 : notifications.length
    const ids = new Set(notifications.map(({ id }) => id))
    for (const [id, { root }] of articles) if (!ids.has(id)) remove(id, root)

    let next = list.firstElementChild
    for (const [index, notification] of notifications.entries()) {
      const shown = articles.get(notification.id) ?? article(notification.id, actions)
      articles.set(notification.id, shown)
      shown.show(notification, index + 1, size)
      if (shown.root === next) next = next.nextElementSibling
      else list.insertBefore(shown.root, next)
    }
  }

  /** The focus must not fall out of the list with the article that had it. */
  function remove(id: string, root: HTMLElement): void {
    const hadFocus = root.contains(document.activeElement)
    const neighbour = root.nextElementSibling ?? root.previousElementSibling
    articles.delete(id)
    if (hadFocus && neighbour instanceof HTMLElement) neighbour.focus()
    root.remove()
  }
}

function move(event: KeyboardEvent): void {
  if (event.key !== 'PageDown' && event.key !== 'PageUp') return
  const current = event.target instanceof Element ? event.target.closest('article') : null
  const other = event.key === 'PageDown' ? current?.nextElementSibling : current?.previousElementSibling
  if (!(other instanceof HTMLElement)) return
  event.preventDefault()
  other.focus()
}
