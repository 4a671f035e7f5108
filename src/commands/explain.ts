import { ConfigError } from '../config.ts'
import { AppError } from '../core/errors.ts'
import { mask } from '../core/mask.ts'

/** What the person at the terminal can act on; of an error that nobody foresaw, where it happened. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return mask(String(error))
  const listening = listenAdvice(error)
  if (listening !== null) return listening
  const isForeseen = error instanceof ConfigError || error instanceof AppError
  const cause = error.cause instanceof Error && error.cause.message !== '' ? `\n  ${error.cause.message}` : ''
  return mask(isForeseen ? `${error.message}${cause}` : (error.stack ?? error.message))
}

/** Why a server could not take its port, and what to do. */
function listenAdvice(error: NodeJS.ErrnoException & { address?: string; port?: number }): string | null {
  const { syscall, code = '', address = 'HOST', port = 'PORT' } = error
  const advice = ['listen', 'getaddrinfo'].includes(syscall ?? '') ? LISTEN_ADVICE[code] : undefined
  return advice === undefined ? null : `The server cannot listen on ${address}:${port} (${code}): ${advice}`
}

const LISTEN_ADVICE: Record<string, string> = {
  EADDRINUSE: 'another program has that port. Stop it, or set PORT.',
  EACCES: 'ports below 1024 need more rights. Set PORT.',
  EADDRNOTAVAIL: 'that is no address of this machine. Set HOST.',
  ENOTFOUND: 'that name is not known. Set HOST.',
}
