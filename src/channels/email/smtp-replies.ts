import type { Verdict } from '../../core/errors.ts'

/** Which part of a conversation was refused. */
export type Stage = 'connection' | 'login' | 'sender' | 'recipient' | 'message'

/** A refusal: reply code, enhanced code of RFC 3463 where there is one, and the words. */
export type SmtpReply = { stage: Stage; code: number; status: string | null; text: string }

export type ReplyClass =
  | 'recipient-gone'
  | 'mailbox-full'
  | 'greylisted'
  | 'rate'
  | 'busy'
  | 'content'
  | 'sender-blocked'
  | 'credentials'
  | 'syntax'
  | 'connection'
  | 'unknown'

type Rule = {
  class: ReplyClass
  /** What the rule is for; its test has the same name. */
  name: string
  at?: readonly Stage[]
  code?: RegExp
  status?: RegExp
  text?: RegExp
}

const ABOUT_RECIPIENT = ['recipient', 'message'] as const

/**
 * What servers mean, in order; the first rule that fits decides. Codes are reused freely out there, so what speaks
 * against us (lists, sender, login) stands before what speaks against the recipient: an address forgotten by mistake
 * is worse than a mail sent in vain.
 */
export const RULES: readonly Rule[] = [
  { class: 'credentials', name: 'the login is refused', at: ['login'], code: /^5/ },
  { class: 'connection', name: 'the login does not work now', at: ['login'] },
  { class: 'credentials', name: 'a login or TLS is demanded', code: /^(530|535|538)$/ },
  { class: 'credentials', name: 'a login is demanded by the enhanced code', status: /^5\.7\.(8|9|11)$/ },
  {
    class: 'credentials',
    name: 'a login is demanded in words',
    code: /^5/,
    text: /authentication (is )?required|must (first )?(authenticate|log ?in)|not authenticated/i,
  },

  { class: 'greylisted', name: 'greylisting in words', text: /gr[ae]y-?list/i },
  {
    class: 'sender-blocked',
    name: 'our address is on a list',
    code: /^[45]/,
    text: /spamhaus|spamcop|barracuda|sorbs|\b(dns|rhs|uri|[rsxp])bl\b|(block|black|deny)[ -]?list|blocked (using|by|due)|\blisted (in|by|on|at)\b|(poor|bad|low) reputation/i,
  },
  {
    class: 'sender-blocked',
    name: 'the sender is refused in words',
    code: /^5/,
    text: /sender (address|domain|verif\w*|id|not|is not|was|reject\w*|denied|blocked)|(reverse|ptr) ?(dns|record)|\b(dmarc|dkim|spf)\b/i,
  },
  {
    class: 'sender-blocked',
    name: 'the sender is not authenticated',
    code: /^5/,
    status: /^5\.7\.(2[0-7]|5\d\d|7)$/,
  },
  { class: 'sender-blocked', name: 'the sender is refused by the enhanced code', code: /^5/, status: /^5\.1\.[78]$/ },
  {
    class: 'sender-blocked',
    name: 'the server does not relay for us',
    code: /^5/,
    text: /relay(ing)? (access )?(is )?(denied|not (permitted|allowed))|(not|cannot|unable to) relay/i,
  },
  {
    class: 'busy',
    name: 'too many connections',
    code: /^4/,
    text: /(too many|maximum|limit|exceed).{0,40}(connections|sessions)|connection limit/i,
  },
  { class: 'rate', name: 'no connection for now', at: ['connection'], code: /^421$/ },
  { class: 'connection', name: 'the server is not ready', at: ['connection'], code: /^4/ },
  { class: 'connection', name: 'the server lacks what we need', at: ['connection'], code: /^50/ },
  { class: 'sender-blocked', name: 'the server does not talk to us', at: ['connection'], code: /^5/ },

  {
    class: 'mailbox-full',
    name: 'mailbox full',
    at: ABOUT_RECIPIENT,
    code: /^(4|55)/,
    status: /^[45]\.2\.2$/,
  },
  { class: 'busy', name: 'mailbox busy', code: /^450$/, status: /^4\.2\.1$/ },
  {
    class: 'rate',
    name: 'the quota of sent mail is used up',
    text: /(sending|daily|hourly|message|rate) ?(user )?(sending )?(limit|quota)|rate[ -]?limit|too many (connections|messages|e-?mails|recipients|mails)|throttl|slow down/i,
  },
  {
    class: 'mailbox-full',
    name: 'mailbox full in words',
    at: ABOUT_RECIPIENT,
    code: /^(45|55)/,
    text: /over ?quota|quota (is )?(exceeded|full)|exceed\w* .{0,20}quota|(mailbox|inbox|storage) .{0,20}\bfull\b|full mailbox/i,
  },
  {
    class: 'recipient-gone',
    name: 'the domain takes no mail',
    at: ABOUT_RECIPIENT,
    code: /^(521|556)$/,
  },
  { class: 'recipient-gone', name: 'null MX', at: ABOUT_RECIPIENT, code: /^5/, status: /^5\.1\.10$/ },
  {
    class: 'recipient-gone',
    name: 'no such recipient',
    at: ABOUT_RECIPIENT,
    code: /^55[0134]$/,
    status: /^5\.1\.[1236]$/,
  },
  {
    class: 'recipient-gone',
    name: 'mailbox disabled',
    at: ABOUT_RECIPIENT,
    code: /^55[0134]$/,
    status: /^5\.2\.1$/,
    text: /disabled|inactive|deactivated|suspended|closed|no longer/i,
  },
  {
    class: 'recipient-gone',
    name: 'no such recipient in words',
    at: ABOUT_RECIPIENT,
    code: /^55[0134]$/,
    text: /no such (user|mailbox|recipient|person|address)|(user|recipient|mailbox|account|address)( \S+)? (is |was )?(unknown|not found|does ?n[o']t exist|no longer exists)|unknown (user|recipient|mailbox|address)|doesn't have an? .{0,40}account|invalid (mailbox|recipient)/i,
  },

  { class: 'content', name: 'too big', status: /^5\.(3\.4|2\.3)$/ },
  { class: 'content', name: 'the content cannot be taken', status: /^5\.6\.\d+$/ },
  {
    class: 'content',
    name: 'spam in words',
    code: /^5/,
    text: /spam|virus|malware|phish|unsolicited|bulk mail|junk|content (was |is )?(rejected|refused|denied|filter|presents)/i,
  },
  { class: 'content', name: 'too big, without an enhanced code', at: ['sender', 'message'], code: /^552$/ },

  { class: 'rate', name: 'an unusual rate', status: /^4\.7\.(28|64|[56]\d\d)$/ },
  { class: 'busy', name: 'too much at once', status: /^[45]\.(4\.5|5\.3)$/ },
  { class: 'greylisted', name: 'greylisting', code: /^45[01]$/, status: /^4\.7\.1$/ },
  // Nobody's fault but the account's: the recipient has not been named.
  { class: 'rate', name: 'a policy for the account', at: ['sender'], code: /^45[0-2]$/, status: /^4\.7\.\d+$/ },
  { class: 'busy', name: 'a policy for now', code: /^45[0-2]$/, status: /^4\.7\.\d+$/ },
  { class: 'busy', name: 'the server was tired of waiting', code: /^421$/, status: /^4\.4\.\d+$/ },
  { class: 'rate', name: 'the server closes the connection', code: /^421$/ },
  { class: 'rate', name: 'the server takes nothing for now', code: /^4/, status: /^4\.3\.2$/ },
  { class: 'connection', name: 'trouble of the server', code: /^4/, status: /^4\.[34]\.\d+$/ },
  {
    class: 'greylisted',
    name: 'greylisting by asking to come again',
    code: /^45[01]$/,
    text: /(try|come) (again|back)|retry/i,
  },
  { class: 'syntax', name: 'we were not understood', code: /^(50[0-4]|555)$/ },
  { class: 'syntax', name: 'we were not understood, by the enhanced code', code: /^5/, status: /^5\.5\.\d+$/ },
  { class: 'sender-blocked', name: 'the sender is refused', at: ['sender'], code: /^5/ },
]

/**
 * What a class means for the delivery, where the refusal is permanent; a temporary one (4xx) is always retried. Seconds
 * are the least to wait: where an operator must act first, waiting keeps the mail and spares the account. `stopsAccount`:
 * any other mail would get the same answer.
 */
type Meaning = { verdict: Exclude<Verdict, 'uncertain'>; afterSeconds?: number; stopsAccount?: true }

const VERDICTS: Record<ReplyClass, Meaning> = {
  'recipient-gone': { verdict: 'forget-address' },
  'mailbox-full': { verdict: 'retry', afterSeconds: 3600 },
  greylisted: { verdict: 'retry', afterSeconds: 300 },
  rate: { verdict: 'retry', afterSeconds: 60, stopsAccount: true },
  busy: { verdict: 'retry', afterSeconds: 60 },
  content: { verdict: 'reject' },
  'sender-blocked': { verdict: 'retry', afterSeconds: 3600 },
  credentials: { verdict: 'retry', afterSeconds: 900 },
  syntax: { verdict: 'reject' },
  connection: { verdict: 'retry' },
  unknown: { verdict: 'reject' },
}

/** Reads a reply of one or more lines, as it came over the wire; null when it is no refusal (4xx or 5xx). */
export function parseReply(stage: Stage, raw: string): SmtpReply | null {
  const lines = raw
    .split(/\r?\n/)
    .map((line) => /^([45]\d\d)(?:[ -](?:([45]\.\d{1,3}\.\d{1,3})(?: |$))?(.*))?$/.exec(line))
  const [, code, status] = lines[0] ?? []
  if (code === undefined) return null
  const text = lines.map((line) => line?.[3]?.trim() ?? '').join(' ')
  return { stage, code: Number(code), status: status ?? null, text: text.trim() }
}

/** What a refusal means, and how long the server asks to wait at least. */
export function classify(reply: SmtpReply): {
  class: ReplyClass
  verdict: Exclude<Verdict, 'uncertain'>
  retryAfterSeconds?: number
  stopsAccount?: true
} {
  const replyClass = ruleFor(reply)?.class ?? 'unknown'
  const { verdict, afterSeconds, stopsAccount } = VERDICTS[replyClass]
  if (verdict !== 'retry' && reply.code >= 500) return { class: replyClass, verdict }
  const retryAfterSeconds = askedSeconds(reply.text) ?? afterSeconds
  return {
    class: replyClass,
    verdict: 'retry',
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    ...(stopsAccount && { stopsAccount }),
  }
}

/** The rule that decides about a refusal, if there is one. */
export const ruleFor = (reply: SmtpReply): Rule | undefined => RULES.find((rule) => fits(rule, reply))

const fits = ({ at, code, status, text }: Rule, reply: SmtpReply): boolean =>
  (at?.includes(reply.stage) ?? true) &&
  (code?.test(String(reply.code)) ?? true) &&
  (status === undefined || status.test(reply.status ?? '')) &&
  (text?.test(reply.text) ?? true)

const UNIT_SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600 }

/** "try again in 5 minutes", "retry after 300 seconds", "come back in 00:04:59": seconds, or undefined. */
function askedSeconds(text: string): number | undefined {
  const [, hours, minutes, seconds] = /\b(?:in|after) (\d\d):(\d\d):(\d\d)\b/i.exec(text) ?? []
  if (seconds !== undefined) return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)
  const [, amount, unit] = /\b(?:in|after) (\d{1,6}) ?(s|m|h)(?:ec|econd|in|inute|r|our)?s?\b/i.exec(text) ?? []
  return unit === undefined ? undefined : Number(amount) * (UNIT_SECONDS[unit.toLowerCase()] ?? 1)
}
