import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import type { Lane } from '../core/event.ts'
import type { Db } from '../db/db.ts'
import type { Claim, Place, Queue } from './queue.ts'

/** What a contract run needs: an empty queue over a real database, and a way to put deliveries into it. */
export type QueueFixture = {
  db: Db
  /** Another process's view of the same queue. Leases last `leaseSeconds`; a resend comes after `resendAfterSeconds`. */
  open: (options: { leaseSeconds: number; resendAfterSeconds: number }) => Queue
  /** Adds due deliveries (unless `inSeconds`), returns their ids in the order in which they were added. */
  add: (
    count: number,
    options?: {
      lane?: Lane
      priority?: number
      inSeconds?: number
      expiresInSeconds?: number
      channel?: string
      companyId?: string
      campaignId?: number
    },
  ) => Promise<string[]>
  /** Cancels the events of these deliveries, as a caller does while a worker holds them. */
  cancel: (ids: string[]) => Promise<void>
  clear: () => Promise<void>
  close: () => Promise<void>
}

type Row = { state: number; attempt: number; crashes: number; reason: string | null; finished_at: string | null }

const SENT = 2
const FAILED = 4
const EXPIRED = 6
const UNCERTAIN = 9
const HOLD = { email: { onUncertain: 'hold' } } as const
/** Where deliveries wait unless a test says otherwise. */
const at = (lane: Lane): Place => ({ channel: 'email', lane })
const RESEND = { email: { onUncertain: 'resend' } } as const

/** What every queue adapter must do. */
export function queueContract(name: string, fresh: () => Promise<QueueFixture>): void {
  suite(`${name}, as a queue`, () => {
    let fixture: QueueFixture
    let queue: Queue

    beforeAll(async () => {
      fixture = await fresh()
    })
    beforeEach(async () => {
      await fixture.clear()
      queue = fixture.open({ leaseSeconds: 30, resendAfterSeconds: 0 })
    })
    afterAll(() => fixture.close())

    const row = async (id: string): Promise<Row> => {
      const rows = await fixture.db.query<Row>(
        'select state, attempt, crashes, reason, finished_at from delivery where id = $1',
        [id],
      )
      return rows[0]!
    }
    const endLeases = () => fixture.db.query(`update lease set until = now() - interval '1 second'`)

    test('hands out what is due, once, oldest first', async () => {
      const added = await fixture.add(5)

      const first = await queue.claim(at('p2p'), 3)
      const second = await queue.claim(at('p2p'), 3)

      expect(idsOf(first)).toEqual(added.slice(0, 3))
      expect(idsOf(second)).toEqual(added.slice(3))
      expect(await queue.claim(at('p2p'), 3)).toBeNull()
    })

    test('hands out urgent work before older work', async () => {
      const [normal] = await fixture.add(1, { priority: 1 })
      const [urgent] = await fixture.add(1, { priority: 0 })

      expect(idsOf(await queue.claim(at('p2p'), 1))).toEqual([urgent])
      expect(idsOf(await queue.claim(at('p2p'), 1))).toEqual([normal])
    })

    test('lets no priority wait for ever behind a more urgent one', async () => {
      await fixture.add(40, { priority: 0 })
      const [low] = await fixture.add(1, { priority: 2 })

      const order: string[] = []
      for (let i = 0; i < 20; i++) order.push(...idsOf(await queue.claim(at('p2p'), 1)))

      expect(order).toContain(low)
    })

    test('nor in one of several places that are claimed in turn', async () => {
      const channels = ['a', 'b', 'c', 'd', 'e']
      const normal = []
      for (const channel of channels) {
        await fixture.add(6, { channel, priority: 0 })
        normal.push(...(await fixture.add(1, { channel, priority: 1 })))
      }

      const order: string[] = []
      for (let n = 0; n < 5; n++) {
        for (const channel of channels) order.push(...idsOf(await queue.claim({ channel, lane: 'p2p' }, 1)))
      }

      expect(order).toEqual(expect.arrayContaining(normal))
    })

    test('ends the lease with its last results', async () => {
      const [sent, retried] = await fixture.add(2)
      const claim = (await queue.claim(at('p2p'), 10))!
      await queue.start(claim.leaseId, [sent!, retried!])

      const recorded = await queue.finish(claim.leaseId, [
        { id: sent!, state: 'sent' },
        { id: retried!, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 },
      ])

      expect(new Set(recorded)).toEqual(new Set([sent, retried]))
      expect(await fixture.db.query('select from lease union all select from intent')).toHaveLength(0)
      expect(await claimAll(queue, 'retry')).toEqual([retried])
    })

    test('refuses results when the lease was taken over', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!
      await endLeases()
      await queue.recover(HOLD)

      expect(await queue.finish(claim.leaseId, [{ id: id!, state: 'sent' }])).toEqual([])
      expect(await claimAll(queue)).toEqual([id])
    })

    test('keeps lanes apart', async () => {
      const [broadcast] = await fixture.add(1, { lane: 'broadcast' })

      expect(await queue.claim(at('p2p'), 10)).toBeNull()
      expect(idsOf(await queue.claim(at('broadcast'), 10))).toEqual([broadcast])
    })

    test('keeps channels apart', async () => {
      const [mail] = await fixture.add(1, { channel: 'email' })
      const [sms] = await fixture.add(1, { channel: 'sms' })

      expect(idsOf(await queue.claim({ channel: 'sms', lane: 'p2p' }, 10))).toEqual([sms])
      expect(idsOf(await queue.claim(at('p2p'), 10))).toEqual([mail])
    })

    test('says whether there may be more in the same place', async () => {
      await fixture.add(3)

      const first = await queue.claim(at('p2p'), 2)
      const second = await queue.claim(at('p2p'), 2)

      expect([first?.hasMore, second?.hasMore]).toEqual([true, false])
    })

    test('lets a company that has little not wait behind one that has much', async () => {
      await fixture.add(10_000, { companyId: 'flood' })
      await queue.claim(at('p2p'), 50)
      const [single] = await fixture.add(1, { companyId: 'single' })

      const claimed = [...idsOf(await queue.claim(at('p2p'), 50)), ...idsOf(await queue.claim(at('p2p'), 50))]

      expect(claimed).toContain(single)
      expect(claimed).toHaveLength(100)
    })

    test('lets it not wait either where one is claimed at a time', async () => {
      await fixture.add(100, { companyId: 'flood' })
      await queue.claim(at('p2p'), 50)
      const [single] = await fixture.add(1, { companyId: 'single' })

      const claimed: string[] = []
      for (let claim = 0; claim < 2; claim++) claimed.push(...idsOf(await queue.claim(at('p2p'), 1)))

      expect(claimed).toContain(single)
    })

    test('serves the campaigns of a company in turn', async () => {
      const first = new Set(await fixture.add(400, { companyId: 'acme', campaignId: 1 }))
      const second = new Set(await fixture.add(400, { companyId: 'acme', campaignId: 2 }))

      const claims: string[][] = []
      for (let claim = 0; claim < 8; claim++) claims.push(idsOf(await queue.claim(at('p2p'), 50)))

      const [ofFirst, ofSecond] = [first, second].map(
        (campaign) => claims.flat().filter((id) => campaign.has(id)).length,
      )
      expect(claims.flat()).toHaveLength(400)
      expect(Math.min(ofFirst!, ofSecond!)).toBeGreaterThanOrEqual(150)
    })

    test('gives a company no more for having many campaigns', async () => {
      for (let campaignId = 1; campaignId <= 10; campaignId++) {
        await fixture.add(200, { companyId: 'many campaigns', campaignId })
      }
      const one = new Set(await fixture.add(2000, { companyId: 'one campaign' }))
      // In the first claims everybody is new.
      for (let claim = 0; claim < 12; claim++) await queue.claim(at('p2p'), 50)

      const claimed: string[] = []
      for (let claim = 0; claim < 20; claim++) claimed.push(...idsOf(await queue.claim(at('p2p'), 50)))

      const share = claimed.filter((id) => one.has(id)).length / claimed.length
      expect(claimed).toHaveLength(1000)
      expect(share).toBeGreaterThan(0.4)
      expect(share).toBeLessThan(0.6)
    })

    test('leaves nothing for later that could be claimed now, whoever it belongs to', async () => {
      const added: string[] = []
      for (const companyId of ['a', 'b', 'c']) {
        for (const campaignId of [1, 2, 3]) added.push(...(await fixture.add(30, { companyId, campaignId })))
      }
      added.push(...(await fixture.add(5, { companyId: 'd' })))

      const claimed: string[] = []
      for (let hasMore = true; hasMore;) {
        const claim = await queue.claim(at('p2p'), 40)
        claimed.push(...idsOf(claim))
        hasMore = claim?.hasMore ?? false
      }

      expect(claimed.toSorted()).toEqual(added.toSorted())
    })

    test('serves urgent work of one company before other work of another', async () => {
      await fixture.add(50, { companyId: 'a', priority: 1 })
      const urgent = await fixture.add(10, { companyId: 'b', priority: 0 })

      expect(idsOf(await queue.claim(at('p2p'), 10)).toSorted()).toEqual(urgent.toSorted())
    })

    test('says of a delivery that it is sent in strict order', async () => {
      const [ordered] = await fixture.add(2)
      await fixture.db.query('update delivery set thread = gen_random_uuid() where id = $1', [ordered])

      const claim = await queue.claim(at('p2p'), 10)

      expect(claim?.deliveries.map(({ is_ordered: isOrdered }) => isOrdered)).toEqual([true, false])
    })

    test('tells of an event that several deliveries share with each of them', async () => {
      const [first, second] = await fixture.add(2)
      await fixture.db.query(
        'update delivery set event_id = (select event_id from delivery where id = $1) where id = $2',
        [first, second],
      )

      const claim = await queue.claim(at('p2p'), 10)

      expect(claim?.deliveries.map(({ event }) => event.type)).toEqual(['job.done', 'job.done'])
    })

    test('knows in which places something is due', async () => {
      await fixture.add(1, { channel: 'sms', priority: 2 })
      await fixture.add(1, { lane: 'broadcast' })
      await fixture.add(1, { inSeconds: 3600 })
      const places = (['p2p', 'broadcast', 'retry'] as const).flatMap((lane) => [
        { channel: 'email', lane },
        { channel: 'sms', lane },
        { channel: 'never met', lane },
      ])

      const due = await queue.due(places)

      expect(due.toSorted((a, b) => a.lane.localeCompare(b.lane))).toEqual([
        { channel: 'email', lane: 'broadcast' },
        { channel: 'sms', lane: 'p2p' },
      ])
      expect(await queue.due([at('p2p'), at('retry')])).toEqual([])
    })

    test('keeps back what is not due yet', async () => {
      const [soon] = await fixture.add(1, { inSeconds: 0.4 })

      expect(await queue.claim(at('p2p'), 10)).toBeNull()
      await expect.poll(async () => idsOf(await queue.claim(at('p2p'), 10))).toEqual([soon])
    })

    test('says of a delivery that its time is over', async () => {
      await fixture.add(1, { expiresInSeconds: -1 })

      const claim = await queue.claim(at('p2p'), 10)

      expect(claim?.deliveries[0]?.is_expired).toBe(true)
    })

    test('never hands the same delivery to two of many workers', async () => {
      const added = await fixture.add(500)
      const workers = Array.from({ length: 8 }, () => fixture.open({ leaseSeconds: 30, resendAfterSeconds: 0 }))

      const claimed = (await Promise.all(workers.map((worker) => claimAll(worker)))).flat()

      expect(claimed.toSorted()).toEqual(added.toSorted())
    })

    test('records a result once and for good', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!
      await queue.start(claim.leaseId, [id!])

      const first = await queue.finish(claim.leaseId, [{ id: id!, state: 'sent', providerId: '<1@x>' }])
      const second = await queue.finish(claim.leaseId, [
        { id: id!, state: 'failed', verdict: 'reject', reason: 'late' },
      ])
      await queue.release(claim.leaseId)

      expect([first, second]).toEqual([[id], []])
      expect(await row(id!)).toMatchObject({ state: SENT, attempt: 1, finished_at: expect.any(String) })
      expect(await fixture.db.query('select from lease union all select from intent')).toHaveLength(0)
    })

    test('hands a retried delivery out again on the retry lane, after its delay, and logs the attempt', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!

      await queue.finish(claim.leaseId, [
        { id: id!, state: 'retry', verdict: 'retry', reason: 'greylisted', afterSeconds: 0.3 },
      ])
      await queue.release(claim.leaseId)

      expect(await queue.claim(at('retry'), 10)).toBeNull()
      await expect.poll(async () => idsOf(await queue.claim(at('retry'), 10))).toEqual([id])
      expect(await row(id!)).toMatchObject({ attempt: 1, reason: 'greylisted' })
      expect(
        await fixture.db.query('select n, verdict, message from attempt_log where delivery_id = $1', [id]),
      ).toEqual([{ n: 1, verdict: 'retry', message: 'greylisted' }])
    })

    test('buries what failed for good, with the reason', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!

      await queue.finish(claim.leaseId, [{ id: id!, state: 'failed', verdict: 'reject', reason: 'no such template' }])

      expect(await row(id!)).toMatchObject({ state: FAILED })
      expect(await fixture.db.query('select kind, reason from dead where delivery_id = $1', [id])).toEqual([
        { kind: 'failed', reason: 'no such template' },
      ])
    })

    test('records results and claims the next in one go', async () => {
      const [sent, retried, next] = await fixture.add(3)
      const claim = (await queue.claim(at('p2p'), 2))!
      const wanted = { place: at('p2p'), limit: 2, options: { asStarted: true } }

      const first = await queue.finishAndClaim(claim.leaseId, [{ id: sent!, state: 'sent' }], wanted)
      const second = await queue.finishAndClaim(
        claim.leaseId,
        [{ id: retried!, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 }],
        wanted,
      )

      expect([first.recorded, second.recorded]).toEqual([[sent], [retried]])
      expect([idsOf(first.claim), second.claim]).toEqual([[next], null])
      expect(first.claim).toMatchObject({ isStarted: true, hasMore: false, channel: 'email', lane: 'p2p' })
      expect(await row(sent!)).toMatchObject({ state: SENT, attempt: 1 })
      expect(await fixture.db.query('select id, started from lease')).toEqual([
        { id: first.claim?.leaseId, started: true },
      ])
    })

    test('records what its worker takes for the last results, whether or not they are', async () => {
      const [late, other, next] = await fixture.add(3)
      const claim = (await queue.claim(at('p2p'), 2))!
      const wanted = { place: at('p2p'), limit: 1, options: {} }

      const early = await queue.finishAndClaim(claim.leaseId, [{ id: other!, state: 'sent' }], wanted, { isLast: true })
      const meanwhile = await fixture.db.query('select ids from lease where id = $1', [claim.leaseId])
      const last = await queue.finish(claim.leaseId, [{ id: late!, state: 'expired' }], { isLast: true })
      const again = await queue.finish(claim.leaseId, [{ id: late!, state: 'sent' }], { isLast: true })

      expect([early.recorded, last, again]).toEqual([[other], [late], []])
      expect(meanwhile).toEqual([{ ids: [late] }])
      expect(idsOf(early.claim)).toEqual([next])
      expect(await row(other!)).toMatchObject({ state: SENT, attempt: 1 })
      expect(await row(late!)).toMatchObject({ state: EXPIRED, attempt: 0 })
      expect(await fixture.db.query('select id from lease')).toEqual([{ id: early.claim?.leaseId }])
    })

    test('ends a lease whose results come all at once, in any order, with what was noted of it', async () => {
      const added = await fixture.add(3)
      const claim = (await queue.claim(at('p2p'), 3))!
      await queue.start(claim.leaseId, added.slice(1))
      const [first, second, third] = added.toReversed()

      const recorded = await queue.finish(
        claim.leaseId,
        [
          { id: first!, state: 'sent', providerId: 'a' },
          { id: third!, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 },
          { id: second!, state: 'sent' },
        ],
        { isLast: true },
      )

      expect(recorded).toEqual([first, third, second])
      expect(await Promise.all([first, second].map(async (id) => (await row(id!)).state))).toEqual([SENT, SENT])
      expect(idsOf(await queue.claim(at('retry'), 10))).toEqual([third])
      expect(await fixture.db.query('select id from lease where id = $1', [claim.leaseId])).toEqual([])
      expect(await fixture.db.query('select from intent')).toEqual([])
    })

    test('claims the next also when the results are refused', async () => {
      const [late, next] = await fixture.add(2)
      const claim = (await queue.claim(at('p2p'), 1))!
      await endLeases()
      await queue.recover(HOLD)
      const other = (await queue.claim(at('p2p'), 1))!

      const { recorded, claim: claimed } = await queue.finishAndClaim(claim.leaseId, [{ id: late!, state: 'sent' }], {
        place: at('p2p'),
        limit: 10,
        options: {},
      })

      expect(recorded).toEqual([])
      expect([idsOf(other), idsOf(claimed)]).toEqual([[late], [next]])
    })

    test('gives back at once what a released lease had not begun', async () => {
      const added = await fixture.add(2)
      const claim = (await queue.claim(at('p2p'), 10))!

      await queue.release(claim.leaseId)

      expect(await claimAll(queue)).toEqual(added)
    })

    test('gives back what a dead worker had not begun', async () => {
      const added = await fixture.add(2)
      await queue.claim(at('p2p'), 10)
      await endLeases()

      const recovery = await queue.recover(HOLD)

      expect(recovery).toEqual({ returned: 2, resent: 0, held: 0, failed: 0 })
      expect(await claimAll(queue)).toEqual(added)
    })

    test('leaves the leases of living workers alone', async () => {
      await fixture.add(2)
      await queue.claim(at('p2p'), 10)

      expect(await queue.recover(HOLD)).toEqual({ returned: 0, resent: 0, held: 0, failed: 0 })
      expect(await queue.claim(at('p2p'), 10)).toBeNull()
    })

    test('holds what a dead worker may have sent, where the channel says hold', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!
      await queue.start(claim.leaseId, [id!])
      await endLeases()

      expect(await queue.recover(HOLD)).toMatchObject({ returned: 0, held: 1 })
      expect(await row(id!)).toMatchObject({ state: UNCERTAIN, attempt: 1, crashes: 1 })
      expect(await claimAll(queue, 'retry')).toEqual([])
    })

    test('resends what a dead worker may have sent, where the channel says resend', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!
      await queue.start(claim.leaseId, [id!])
      await endLeases()

      expect(await queue.recover(RESEND)).toMatchObject({ resent: 1 })
      expect(await claimAll(queue, 'retry')).toEqual([id])
    })

    test('resends nothing later than it expires', async () => {
      const patient = fixture.open({ leaseSeconds: 30, resendAfterSeconds: 300 })
      const [id] = await fixture.add(1, { expiresInSeconds: 40 })
      const claim = (await patient.claim(at('p2p'), 10))!
      await patient.start(claim.leaseId, [id!])
      await endLeases()
      await patient.recover(RESEND)
      await patient.close()

      const late = await fixture.db.query('select from delivery where id = $1 and run_at > expires_at', [id])
      expect(late).toEqual([])
    })

    test('gives up a delivery that ended three workers', async () => {
      const [id] = await fixture.add(1)
      for (const lane of ['p2p', 'retry', 'retry'] as const) {
        const claim = (await queue.claim(at(lane), 10))!
        await queue.start(claim.leaseId, [id!])
        await endLeases()
        await queue.recover(RESEND)
      }

      expect(await row(id!)).toMatchObject({ state: FAILED, crashes: 3 })
      expect(await claimAll(queue, 'retry')).toEqual([])
    })

    test('prolongs a lease whose time is over as long as nobody took it over', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!
      await endLeases()

      expect(await queue.renew(claim.leaseId)).toBe(true)
      await endLeases()
      expect(await queue.start(claim.leaseId, [id!])).toEqual([id])

      expect(await queue.recover(HOLD)).toEqual({ returned: 0, resent: 0, held: 0, failed: 0 })
    })

    test('refuses the late result of a worker whose lease was taken over', async () => {
      const [id] = await fixture.add(1)
      const claim = (await queue.claim(at('p2p'), 10))!
      await endLeases()
      await queue.recover(HOLD)

      expect(await queue.start(claim.leaseId, [id!])).toEqual([])
      expect(await queue.finish(claim.leaseId, [{ id: id!, state: 'sent' }])).toEqual([])
      expect(await queue.renew(claim.leaseId)).toBe(false)
      expect(await claimAll(queue)).toEqual([id])
    })

    test('says nothing new of a retried delivery when its old lease ends', async () => {
      const [retried, lost] = await fixture.add(2)
      const claim = (await queue.claim(at('p2p'), 10))!
      await queue.start(claim.leaseId, [retried!, lost!])
      await queue.finish(claim.leaseId, [
        { id: retried!, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 },
      ])
      await endLeases()

      expect(await queue.recover(HOLD)).toMatchObject({ held: 1, returned: 0 })
      expect(await claimAll(queue, 'retry')).toEqual([retried])
    })

    test('knows what had begun under which lease, when several end together', async () => {
      const [retried, stuck] = await fixture.add(2)
      const first = (await queue.claim(at('p2p'), 10))!
      await queue.start(first.leaseId, [retried!, stuck!])
      await queue.finish(first.leaseId, [
        { id: retried!, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 },
      ])
      await queue.claim(at('retry'), 10)
      await endLeases()

      expect(await queue.recover(HOLD)).toMatchObject({ held: 1, returned: 1 })
      expect(await row(retried!)).toMatchObject({ attempt: 1, crashes: 0 })
      expect(await claimAll(queue, 'retry')).toEqual([retried])
    })

    test('keeps what was begun but not finished until the lease ends, also when it is released', async () => {
      const [begun, idle] = await fixture.add(2)
      const claim = (await queue.claim(at('p2p'), 10))!
      await queue.start(claim.leaseId, [begun!])

      await queue.release(claim.leaseId)

      expect(await claimAll(queue)).toEqual([idle])
      await fixture.db.query(`update lease set until = now() - interval '1 second' where id = $1`, [claim.leaseId])
      expect(await queue.recover(HOLD)).toMatchObject({ held: 1 })
    })

    test('takes all of a lease that was taken as started for begun', async () => {
      const [first, second, sent] = await fixture.add(3)
      const claim = (await queue.claim(at('p2p'), 10, { asStarted: true }))!
      await queue.finish(claim.leaseId, [{ id: sent!, state: 'sent' }])
      await endLeases()

      expect(claim.isStarted).toBe(true)
      expect(await queue.recover(RESEND)).toEqual({ returned: 0, resent: 2, held: 0, failed: 0 })
      expect(await claimAll(queue, 'retry')).toEqual([first, second])
      expect(await row(first!)).toMatchObject({ attempt: 1, crashes: 1 })
    })

    test('gives back of a lease that was taken as started what its worker says was not begun', async () => {
      const [begun, idle, sent] = await fixture.add(3)
      const claim = (await queue.claim(at('p2p'), 10, { asStarted: true }))!
      await queue.finish(claim.leaseId, [{ id: sent!, state: 'sent' }])

      await queue.release(claim.leaseId, [idle!, sent!])

      expect(await claimAll(queue)).toEqual([idle])
      await fixture.db.query(`update lease set until = now() - interval '1 second' where id = $1`, [claim.leaseId])
      expect(await queue.recover(RESEND)).toMatchObject({ returned: 0, resent: 1 })
      expect(await claimAll(queue, 'retry')).toEqual([begun])
    })

    test('ends a lease that was taken as started and of which nothing was begun', async () => {
      const added = await fixture.add(2)
      const claim = (await queue.claim(at('p2p'), 10, { asStarted: true }))!

      await queue.release(claim.leaseId, added)

      expect(await fixture.db.query('select from lease')).toEqual([])
      expect(await claimAll(queue)).toEqual(added)
    })

    test('does not let a cancelled delivery start', async () => {
      const [cancelled, other] = await fixture.add(2)
      const claim = (await queue.claim(at('p2p'), 10))!
      await fixture.cancel([cancelled!])

      expect(await queue.start(claim.leaseId, [cancelled!, other!])).toEqual([other])
    })

    test.each([
      ['these places', [{ channel: 'sms', lane: 'broadcast' } as const, at('p2p')]],
      ['somewhere', undefined],
    ])('wakes the workers of other processes: %s', async (_, places) => {
      const other = fixture.open({ leaseSeconds: 30, resendAfterSeconds: 0 })
      const woken: unknown[] = []
      other.onWake((told) => woken.push(told))

      // Listening takes a moment to begin, says so itself, and what is told before that is found by the poll.
      await expect
        .poll(() => {
          queue.wake(places)
          return woken.length
        })
        .toBeGreaterThan(3)
      await other.close()

      expect(woken.at(-1)).toEqual(places ?? null)
    })

    test('wakes a waiting worker when work is added', async () => {
      const woken: unknown[] = []
      const stop = queue.onWake((places) => woken.push(places))

      queue.wake([at('p2p')])
      queue.wake()
      stop()
      queue.wake()

      expect(woken).toEqual([[at('p2p')], null])
    })
  })
}

const idsOf = (claim: Claim | null): string[] => (claim?.deliveries ?? []).map((delivery) => delivery.id)

async function claimAll(queue: Queue, lane: Lane = 'p2p'): Promise<string[]> {
  const ids: string[] = []
  for (let claim = await queue.claim(at(lane), 100); claim; claim = await queue.claim(at(lane), 100)) {
    ids.push(...idsOf(claim))
  }
  return ids
}
