import { fastify } from 'fastify'
import { expect, suite, test } from 'vitest'
import { DeliveryError } from './core/errors.ts'
import { logger } from './log.ts'

suite('the log', () => {
  test('is one JSON line per fact, with its time and the word of its level', () => {
    const { log, lines } = capture()

    log.info({ deliveryId: '7' }, 'delivery sent')

    expect(lines).toHaveLength(1)
    const line = JSON.parse(lines[0]!) as Record<string, unknown>
    expect(line).toMatchObject({ level: 'info', deliveryId: '7', msg: 'delivery sent' })
    expect(new Date(String(line['time'])).getTime()).toBeGreaterThan(Date.now() - 10_000)
  })

  test('keeps below its level', () => {
    const { log, lines } = capture('warn')

    log.info('nothing')
    log.warn('something')

    expect(lines).toHaveLength(1)
  })

  test('cannot be forged by line breaks', () => {
    const { log, lines } = capture()

    log.info({ type: 'a\n{"level":"fatal"}\u001b[2J' }, 'event\r\naccepted')

    expect(lines).toHaveLength(1)
    expect(lines[0]!.slice(0, -1)).not.toMatch(/\p{Cc}/u)
  })

  test('shows requests without query, headers, body and address', async () => {
    const { log, lines } = capture()
    const app = fastify({ loggerInstance: log })
    app.post('/x', (request, reply) => {
      request.log.info({ req: request, res: reply, headers: request.headers }, 'seen')
      request.log.error(new Error('broken'))
      return { ok: true }
    })

    await app.inject({
      method: 'POST',
      url: '/x?token=CANARY&email=CANARY',
      headers: { authorization: 'Bearer CANARY', cookie: 'session=CANARY' },
      payload: { password: 'CANARY' },
      remoteAddress: '203.0.113.7',
    })
    await app.close()

    expect(lines.length).toBeGreaterThan(2)
    expect(lines.join('')).toContain('"path":"/x"')
    expect(lines.join('')).not.toMatch(/CANARY|203\.0\.113/)
  })

  test('cuts out fields that hold secrets or personal data', () => {
    const { log, lines } = capture()
    const hidden = { token: 'CANARY', email: 'CANARY', body: 'CANARY', authorization: 'CANARY', password: 'CANARY' }

    log.info(hidden, 'at the top')
    log.info({ user: hidden }, 'below')
    log.child({ token: 'CANARY' }).info('in a child')

    expect(lines).toHaveLength(3)
    expect(lines.join('')).not.toContain('CANARY')
  })

  test('shows of an error its kind, message, code, verdict and causes, and none of its other fields', () => {
    const { log, lines } = capture()
    const cause = Object.assign(new Error('duplicate key'), { code: '23505', detail: 'Key (email)=(CANARY) exists' })

    log.error({ err: new DeliveryError('retry', 'no answer', { cause }) }, 'delivery failed')

    expect(JSON.parse(lines[0]!)).toMatchObject({
      err: {
        type: 'DeliveryError',
        message: 'no answer',
        verdict: 'retry',
        cause: { message: 'duplicate key', code: '23505' },
      },
    })
    expect(lines.join('')).not.toContain('CANARY')
  })

  test('masks what got into a message all the same', () => {
    const { log, lines } = capture()

    log.error(
      new Error('550 <ann@mail.example.com> rejected, postgres://u:CANARY@db/x, sk_000000000000_CANARYCANARYCANARY'),
    )

    expect(lines.join('')).not.toMatch(/CANARY|ann@mail/)
    expect(() => JSON.parse(lines[0]!) as unknown).not.toThrow()
  })
})

function capture(level = 'info') {
  const lines: string[] = []
  return { log: logger(level, { write: (line) => void lines.push(line) }), lines }
}
