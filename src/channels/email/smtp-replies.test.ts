import { expect, suite, test } from 'vitest'
import { classify, parseReply, RULES, ruleFor, type ReplyClass, type SmtpReply, type Stage } from './smtp-replies.ts'

/** For every rule, by name: refusals that it decides. */
const EXAMPLES: Record<string, [stage: Stage, reply: string][]> = {
  'the login is refused': [
    ['login', '535 5.7.8 Error: authentication failed'],
    ['login', '534 5.7.9 Application-specific password required'],
    ['login', '502 5.5.1 Command not implemented'],
  ],
  'the login does not work now': [['login', '454 4.7.0 Temporary authentication failure']],
  'a login or TLS is demanded': [
    ['sender', '530 5.7.0 Must issue a STARTTLS command first'],
    ['sender', '530 Authentication required'],
  ],
  'a login is demanded by the enhanced code': [['recipient', '550 5.7.8 Credentials needed']],
  'a login is demanded in words': [['recipient', '550 5.7.1 Client was not authenticated to send mail']],
  'greylisting in words': [
    ['recipient', '450 4.2.0 Greylisted, see http://example.org/help'],
    ['recipient', '550 5.7.1 Graylisting in action'],
  ],
  'our address is on a list': [
    ['recipient', '550 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org'],
    ['recipient', '550 5.1.1 Rejected, your IP is on our blacklist'],
    ['message', '554 Message refused: found in RBL'],
    ['message', '451 4.7.1 Listed in dnsbl.example.org, try again later'],
  ],
  'the sender is refused in words': [
    ['recipient', '550 5.1.1 Sender address rejected: undeliverable address'],
    ['message', '550 5.7.1 Unauthenticated email is refused by the DMARC policy of the domain'],
    ['message', '550 SPF check failed'],
  ],
  'the sender is not authenticated': [
    ['message', '550 5.7.26 This message does not pass checks'],
    ['message', '550 5.7.515 Access denied, sending domain does not meet the required level'],
    ['message', '550 5.7.25 The IP address has no PTR'],
  ],
  'the sender is refused by the enhanced code': [['recipient', '553 5.1.8 Domain not found']],
  'the server does not relay for us': [['recipient', '554 5.7.1 Relay access denied']],
  'too many connections': [
    ['connection', '421 4.7.0 Too many concurrent sessions'],
    ['connection', '421 4.3.2 Connection limit reached'],
    ['sender', '421 4.7.0 Maximum number of concurrent connections exceeded'],
  ],
  'no connection for now': [
    ['connection', '421 4.7.0 Try again later'],
    ['connection', '421 Service not available'],
  ],
  'the server is not ready': [['connection', '454 4.7.0 TLS not available']],
  'the server lacks what we need': [['connection', '502 5.5.1 STARTTLS not offered']],
  'the server does not talk to us': [['connection', '554 5.3.2 No mail service here']],
  'the quota of sent mail is used up': [
    ['sender', '550 5.4.5 Daily user sending quota exceeded'],
    ['recipient', '452 4.5.3 Too many recipients'],
    ['message', '451 Rate limit reached, slow down'],
  ],
  'mailbox full': [
    ['recipient', '452 4.2.2 The account is over its limit'],
    ['message', '552 5.2.2 No room'],
  ],
  'mailbox full in words': [
    ['recipient', '452 User is over quota'],
    ['message', '554 The mailbox of the user is full'],
  ],
  'the domain takes no mail': [
    ['recipient', '556 Domain does not accept mail'],
    ['recipient', '521 5.3.2 Nothing here'],
  ],
  'null MX': [['recipient', '550 5.1.10 Recipient not found']],
  'no such recipient': [
    ['recipient', '550 5.1.1 User unknown in virtual mailbox table'],
    ['recipient', '550 5.1.1 Recipient address rejected: User unknown in relay recipient table'],
    ['recipient', '554 5.1.2 Bad destination host'],
    ['recipient', '553 5.1.3 Bad address'],
    ['recipient', '551 5.1.6 Has moved'],
    ['message', '550-5.1.1 The account that you tried to reach does not exist. Please try\r\n550 5.1.1 again'],
  ],
  'mailbox disabled': [['recipient', '550 5.2.1 The account that you tried to reach is disabled']],
  'no such recipient in words': [
    ['recipient', '550 5.7.1 No such user!'],
    ['recipient', '550 User ivan unknown'],
    ['message', "554 delivery error: This user doesn't have an example.com account"],
    ['message', '550 Message was not accepted -- invalid mailbox'],
  ],
  'too big': [
    ['message', '552 5.3.4 Message too big'],
    ['sender', '552 5.3.4 Message size exceeds fixed limit'],
    ['message', '552 5.2.3 Too long'],
  ],
  'the content cannot be taken': [['message', '554 5.6.0 Cannot be converted']],
  'spam in words': [
    ['message', '554 5.7.1 Message scored as spam'],
    ['message', '552 5.7.0 Blocked because its content presents a security issue'],
    ['message', '550 High probability of a virus'],
  ],
  'too big, without an enhanced code': [['message', '552 Message exceeds the size allowed']],
  'an unusual rate': [
    ['recipient', '451 4.7.28 An unusual amount of mail'],
    ['message', '451 4.7.500 Server busy'],
  ],
  'mailbox busy': [
    ['recipient', '450 4.2.1 Receiving mail at a rate that is too high'],
    ['recipient', '450 4.2.1 The user has reached a rate limit'],
  ],
  'too much at once': [['recipient', '451 4.4.5 Server busy']],
  greylisting: [['recipient', '450 4.7.1 Please be patient']],
  'a policy for the account': [['sender', '450 4.7.0 Later']],
  'a policy for now': [['message', '451 4.7.12 Later']],
  'the server was tired of waiting': [['message', '421 4.4.2 Timeout exceeded']],
  'the server closes the connection': [['message', '421 4.7.0 Try again later']],
  'the server takes nothing for now': [['message', '452 4.3.2 System not accepting messages']],
  'trouble of the server': [
    ['message', '452 4.3.1 Insufficient system storage'],
    ['recipient', '451 4.3.0 Lookup failure'],
    ['recipient', '450 4.4.4 No route'],
  ],
  'greylisting by asking to come again': [['recipient', '451 Please try again later']],
  'we were not understood': [
    ['recipient', '501 5.1.3 Bad recipient address syntax'],
    ['sender', '555 5.5.4 Unsupported option'],
    ['message', '503 5.5.1 Valid RCPT command must precede DATA'],
  ],
  'we were not understood, by the enhanced code': [['message', '554 5.5.0 Bad sequence']],
  'the sender is refused': [['sender', '550 5.1.1 Nobody']],
}

const parsed = (stage: Stage, text: string): SmtpReply => parseReply(stage, text)!

suite('what a server means', () => {
  test.each(RULES.map(({ name }) => name))('is decided by the rule: %s', (name) => {
    const deciding = EXAMPLES[name]!.map(([stage, text]) => ruleFor(parsed(stage, text))?.name)

    expect(deciding).toEqual(EXAMPLES[name]!.map(() => name))
  })

  const MEANINGS: [stage: Stage, reply: string, expected: [ReplyClass, string, number?]][] = [
    ['recipient', '550 5.1.1 User unknown', ['recipient-gone', 'forget-address']],
    ['recipient', '550 5.7.1 Blocked using zen.spamhaus.org', ['sender-blocked', 'retry', 3600]],
    ['recipient', '550 5.1.1 Blocked using zen.spamhaus.org', ['sender-blocked', 'retry', 3600]],
    ['recipient', '552 5.2.2 Mailbox full', ['mailbox-full', 'retry', 3600]],
    ['recipient', '450 4.7.1 Wait', ['greylisted', 'retry', 300]],
    ['recipient', '450 4.2.0 Greylisted for 1 minute, retry in 300 seconds', ['greylisted', 'retry', 300]],
    ['recipient', '450 4.7.1 Greylisting, come back in 00:04:59', ['greylisted', 'retry', 299]],
    ['recipient', '451 4.7.1 Please try again in 10 minutes', ['greylisted', 'retry', 600]],
    ['recipient', '421 4.7.0 Try again in 2 hours', ['rate', 'retry', 7200]],
    ['message', '454 4.7.0 Throttling failure: Maximum sending rate exceeded.', ['rate', 'retry', 60]],
    ['recipient', '451 4.7.12 Later', ['busy', 'retry', 60]],
    ['recipient', '452 4.2.2 The message quota of this mailbox is used up', ['mailbox-full', 'retry', 3600]],
    ['recipient', '450 4.1.1 Unverified address', ['unknown', 'retry']],
    ['recipient', '550 Requested action not taken: mailbox unavailable', ['unknown', 'reject']],
    ['recipient', '550 5.2.1 Mailbox cannot take this now', ['unknown', 'reject']],
    ['message', '550 5.7.1 Refused', ['unknown', 'reject']],
    ['message', '554 5.7.1 Spam', ['content', 'reject']],
    ['message', '500 What?', ['syntax', 'reject']],
    ['sender', '530 5.7.0 Authentication required', ['credentials', 'retry', 900]],
  ]

  test.each(MEANINGS)('at %s, %j has its verdict', (stage, text, [replyClass, verdict, retryAfterSeconds]) => {
    expect(classify(parsed(stage, text))).toEqual({
      class: replyClass,
      verdict,
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
      // Any other mail would be told the same.
      ...(replyClass === 'rate' && { stopsAccount: true }),
    })
  })

  test('is never against the recipient when it is temporary or said to the sender', () => {
    const texts = Object.values(EXAMPLES).flat()
    const verdicts = texts.flatMap(([, text]) => [
      classify(parsed('recipient', text.replaceAll(/^5|(?<=[ -])5(?=\.\d)/gm, '4'))).verdict,
      classify(parsed('sender', text)).verdict,
      classify(parsed('connection', text)).verdict,
    ])

    expect(verdicts).not.toContain('forget-address')
  })

  test('is read from replies of any form', () => {
    expect(parseReply('message', '550-5.1.1 One\r\n550 5.1.1 two')).toEqual({
      stage: 'message',
      code: 550,
      status: '5.1.1',
      text: 'One two',
    })
    expect(parseReply('message', '550')).toMatchObject({ code: 550, status: null, text: '' })
    expect(parseReply('message', '550 192.0.2.1 is listed')).toMatchObject({
      status: null,
      text: '192.0.2.1 is listed',
    })
    expect(parseReply('message', '250 Ok')).toBeNull()
    expect(parseReply('message', 'garbage')).toBeNull()
    expect(parseReply('message', '')).toBeNull()
  })

  test('is found quickly in replies that are made to be slow', () => {
    const startedAt = performance.now()
    for (const filler of ['user ', 'exceed ', 'mailbox ', 'in 1', 'a ', "doesn't have a "]) {
      classify(parsed('recipient', `550 ${filler.repeat(64_000 / filler.length)}`))
    }

    expect(performance.now() - startedAt).toBeLessThan(500)
  })
})
