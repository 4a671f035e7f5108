import { inbox, type ConnectionStatus, type Notification } from '../../sdk/src/sdk.ts'
import { announcer } from './announcer.ts'
import { bell } from './bell.ts'
import { demoSession } from './demo-session.ts'
import { byId, setText } from './dom.ts'
import { feed } from './feed.ts'
import { currentLanguage, languageSwitch, onLanguage, say, translatePage } from './language.ts'
import { sender } from './sender.ts'
import { service } from './service.ts'
import { toasts } from './toasts.ts'

const session = demoSession()
const api = service(session)
const { user_id: userId } = await session.get()
let key = (await session.get()).service_token

languageSwitch(byId('languages', HTMLElement))
translatePage({ user: userId })

const live = inbox({ token: async () => (await session.get()).user_token })
const speak = announcer(byId('polite', HTMLElement), byId('urgent', HTMLElement), (count) =>
  say('announce.many', { count }),
)
const cards = toasts(byId('toasts', HTMLElement))
const fault = byId('fault', HTMLElement)
const showBell = bell(byId('bell', HTMLButtonElement), byId('badge', HTMLElement), byId('inbox', HTMLElement), speak)
const showFeed = feed(
  live,
  {
    list: byId('feed', HTMLElement),
    empty: byId('empty', HTMLElement),
    showNew: byId('show-new', HTMLButtonElement),
    showOlder: byId('show-older', HTMLButtonElement),
  },
  {
    toggleRead: ({ id, is_read }) => attempt(is_read ? live.unread(id) : live.read(id)),
    archive: ({ id }) => attempt(live.archive(id)),
  },
)

live.subscribe(show)
live.onNotification((notification, { isMissed }) => {
  // What was born read is shown in the list alone: steps of a job, for instance.
  if (notification.is_read) return
  announce(notification)
  if (!isMissed) cards.show(notification)
})
byId('read-all', HTMLButtonElement).addEventListener('click', () => attempt(live.readAll()))
byId('reload', HTMLButtonElement).addEventListener('click', () => location.reload())
sender(
  userId,
  () => key,
  async (event) => {
    const answer = await api.send(event)
    key = (await session.get()).service_token
    return answer
  },
)
onLanguage(() => {
  translatePage({ user: userId })
  show()
  attempt(api.introduce(userId, currentLanguage()))
})
show()
attempt(api.introduce(userId, currentLanguage()))

function show(): void {
  const { status, unreadCount, notifications } = live.get()
  showStatus(status)
  showBell(unreadCount)
  showFeed()
  const unread = new Set(notifications.filter(({ is_read }) => !is_read).map(({ id }) => id))
  cards.keepOnly((id) => unread.has(id))
}

function showStatus(status: ConnectionStatus): void {
  const pill = byId('status', HTMLElement)
  pill.dataset['status'] = status
  setText(byId('status-text', HTMLElement), say(`status.${status}`))
  byId('reload', HTMLButtonElement).hidden = status !== 'closed'
}

function announce({ title, message, level }: Notification): void {
  const text = message === '' ? title : `${title}. ${message}`
  if (level === 'critical') speak.urgent(text)
  else speak.polite(text)
}

function attempt(work: Promise<unknown>): void {
  fault.hidden = true
  work.catch((error: unknown) => {
    fault.hidden = false
    setText(fault, say('item.failed', { reason: error instanceof Error ? error.message : '' }))
  })
}
