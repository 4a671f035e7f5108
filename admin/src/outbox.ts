import { demoSession } from './demo-session.ts'
import { byId, element, setText } from './dom.ts'
import { currentLanguage, languageSwitch, onLanguage, say, translatePage } from './language.ts'
import { mailView } from './mail-view.ts'
import { outboxApi, OutboxError, type Mail } from './outbox-api.ts'

const REFRESH_MS = 3_000

const session = demoSession()
const form = byId('key-form', HTMLFormElement)
const fault = byId('fault', HTMLElement)
const empty = byId('empty', HTMLElement)
const list = byId('mails', HTMLUListElement)
const older = byId('show-older', HTMLButtonElement)
const view = mailView()
const api = outboxApi((isStale) => (typed === null ? sessionKey(isStale) : Promise.resolve(typed)))

/** The key that somebody typed, where there is no demo session. It is kept nowhere. */
let typed: string | null = null
let mails: Mail[] = []
let next: string | null = null
let chosen: string | null = null
let shownLook = ''

languageSwitch(byId('languages', HTMLElement))
onLanguage(() => {
  translatePage()
  show()
  view.translate()
})
translatePage()
older.addEventListener('click', () => void showOlder())
form.addEventListener('submit', (event) => {
  event.preventDefault()
  typed = byId('key', HTMLInputElement).value.trim()
  void refresh()
})
await refresh()
setInterval(() => {
  if (!document.hidden && form.hidden) void refresh()
}, REFRESH_MS)

async function sessionKey(isStale: boolean): Promise<string> {
  return (await (isStale ? session.renew() : session.get())).service_token
}

async function refresh(): Promise<void> {
  await attempt(async () => {
    const page = await api.list(null)
    const newest = new Set(page.items.map(({ id }) => id))
    const isJoined = mails.some(({ id }) => newest.has(id))
    if (!isJoined) next = page.next
    mails = [...page.items, ...(isJoined ? mails.filter(({ id }) => !newest.has(id)) : [])]
    form.hidden = true
    show()
  })
}

async function showOlder(): Promise<void> {
  await attempt(async () => {
    const page = await api.list(next)
    mails = [...mails, ...page.items]
    next = page.next
    show()
  })
}

async function open(mail: Mail): Promise<void> {
  await attempt(async () => {
    view.show(await api.read(mail.id))
    chosen = mail.id
    show()
  })
}

async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work()
    fault.hidden = true
  } catch (error) {
    const needsKey = typed === null || (error instanceof OutboxError && error.status < 500)
    form.hidden = !needsKey || mails.length > 0
    const isFirstLook = typed === null && mails.length === 0
    fault.hidden = isFirstLook
    setText(fault, say('outbox.failed', { reason: error instanceof Error ? error.message : '' }))
  }
}

function show(): void {
  empty.hidden = mails.length > 0
  setText(empty, say('outbox.empty'))
  older.hidden = next === null
  // Untouched while nothing is new, so that focus and pointer stay where they are.
  const look = JSON.stringify([mails.map(({ id }) => id), chosen, currentLanguage()])
  if (look === shownLook) return
  shownLook = look
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset['id'] : undefined
  list.replaceChildren(...mails.map(entry))
  if (focused !== undefined) list.querySelector<HTMLElement>(`[data-id="${CSS.escape(focused)}"]`)?.focus()
}

function entry(mail: Mail): HTMLElement {
  const time = new Date(mail.created_at)
  const button = element(
    'button',
    { type: 'button', 'data-id': mail.id, 'aria-current': mail.id === chosen && 'true' },
    element('strong', { dir: 'auto' }, mail.subject),
    element('span', { dir: 'auto' }, mail.to),
    element('time', { datetime: mail.created_at }, time.toLocaleString(currentLanguage())),
  )
  button.addEventListener('click', () => void open(mail))
  return element('li', {}, button)
}
