export { inbox, type Inbox, type InboxOptions, type InboxState, type NotificationListener } from './inbox.ts'
export type { ConnectionStatus } from './connection.ts'
export { ApiError, type TokenSource } from './api.ts'
export { CLOSE_CODES, isFinal, type ClientFrame, type Level, type Notification, type ServerFrame } from './protocol.ts'
