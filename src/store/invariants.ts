import { STATES } from '../core/delivery.ts'
import { possibleTrails } from '../core/delivery-life.ts'
import { QUEUE_INVARIANTS } from './queue-invariants.ts'
import { IS_CANCELLED } from './withdrawn.ts'

/** What a rule walks through, a page at a time; `queue` is looked at as a whole. */
export type Scope = 'queue' | 'event' | 'delivery' | 'notification' | 'inbox' | 'dead' | 'idem'

/**
 * What must be true at every moment, whatever was killed. `sql` selects what breaks it, as `id` and `detail`: of the page
 * after `$1` up to `$2` at most `$3` rows; of the queue at most `$1`. Every change of the tables is one statement, or one
 * transaction, so each snapshot must obey.
 */
export type Invariant = {
  name: string
  says: string
  scope: Scope
  sql: string
  /** What `$4` is. */
  needs?: keyof Knowledge
}

const { ready, sent, failed, cancelled, expired, uncertain, skipped } = STATES

/** What the database alone does not say. */
export type Knowledge = {
  /** Names of the channels that are inboxes. */
  inboxChannels: readonly string[]
  /** Events are kept from this row id on; older ones may be gone. */
  eventsAfterId: string
  /** Days that notifications are kept; 0 is for ever. */
  notificationDays: number
}

const POSSIBLE_TRAILS = `array[${[...possibleTrails()].map((trail) => `'${trail}'`).join(', ')}]`

/** Deliveries of the page that a worker will find: due or not, or in somebody's hands. */
const HELD = `held as materialized (
  select id from ready where id > $1 and id <= $2
  union all
  select leased.id from lease, unnest(ids) as leased(id) where leased.id > $1 and leased.id <= $2
  union all
  select delivery_id from thread_waiting where delivery_id > $1 and delivery_id <= $2
)`

export const INVARIANTS: readonly Invariant[] = [
  {
    name: 'jobs-count',
    says: 'An event has as many deliveries as its answer promised',
    scope: 'event',
    sql: `
with page as (
  select id, jobs_count from event where id > $1 and id <= $2 and jobs_count is not null
)
select page.id, format('%s deliveries instead of %s', count(delivery.id), page.jobs_count) as detail
from page left join delivery on delivery.event_id = page.id and delivery.id > $1
group by page.id, page.jobs_count
having count(delivery.id) <> page.jobs_count
order by page.id limit $3`,
  },
  {
    name: 'delivery-has-event',
    says: 'A delivery belongs to an accepted event',
    scope: 'delivery',
    sql: `
select id, format('there is no event %s', event_id) as detail from delivery
where id > $1 and id <= $2 and not exists (select from event where event.id = delivery.event_id)
order by id limit $3`,
  },
  {
    name: 'key-has-event',
    says: 'An idempotency key stands for an event that is stored',
    scope: 'idem',
    needs: 'eventsAfterId',
    sql: `
select key::text as id, format('there is no event %s', event_id) as detail from idem
where key > $1::uuid and key <= $2::uuid and answer is null and event_id > $4
  and not exists (select from event where event.id = idem.event_id)
order by key limit $3`,
  },
  {
    name: 'none-lost',
    says: 'A delivery that is not final is in the queue, in a lease, or waits for its turn',
    scope: 'delivery',
    sql: `
with ${HELD}
select id, 'it waits, and nobody will find it' as detail from delivery
where id > $1 and id <= $2 and state = ${ready} and not exists (select from held where held.id = delivery.id)
order by id limit $3`,
  },
  ...QUEUE_INVARIANTS.map((rule) => ({ ...rule, scope: 'queue' as const })),
  {
    name: 'state-is-known',
    says: 'A delivery has one of the known states, and a time of its end if and only if it is settled',
    scope: 'delivery',
    sql: `
select id, format('state %s, finished at %s', state, coalesce(finished_at::text, 'no time')) as detail from delivery
where id > $1 and id <= $2 and (
  state not in (${Object.values(STATES).join(', ')}) or (state = ${ready}) <> (finished_at is null))
order by id limit $3`,
  },
  {
    name: 'attempts-add-up',
    says: 'Every attempt is accounted for: one line each in the attempts log but for the one that was accepted',
    scope: 'delivery',
    sql: `
with log as (
  select delivery_id, count(*) as lines, max(n) as last, array_agg(n) filter (where verdict = 'uncertain') as doubts
  from attempt_log where delivery_id > $1 and delivery_id <= $2 group by delivery_id
),
counted as (
  select id, attempt, crashes, coalesce(lines, 0) as lines, coalesce(last, 0) as last,
    -- A person who says that it arrived ends the doubt, and no attempt.
    attempt - case when state = ${sent} and reason is distinct from 'settled as sent' then 1 else 0 end as expected,
    (select count(*) from unnest(doubts) as doubt(n) where n > attempts_before) as doubts
  from delivery left join log on delivery_id = id where id > $1 and id <= $2
)
select id, format('attempt %s, crashes %s; the log has %s lines up to %s, %s uncertain', attempt, crashes, lines, last,
  doubts) as detail
from counted where lines <> expected or last <> expected or doubts <> crashes
order by id limit $3`,
  },
  {
    name: 'changes-are-legal',
    says: 'A delivery came to its state by a way that exists',
    scope: 'delivery',
    sql: `
with log as (
  select delivery_id, string_agg(verdict, ' ' order by n) filter (
    where n > attempts_before and (verdict <> 'retry' or n = last)) as trail
  from (
    select delivery_id, n, verdict, max(n) over (partition by delivery_id) as last from attempt_log
    where delivery_id > $1 and delivery_id <= $2
  ) as line join delivery on id = delivery_id
  group by delivery_id
),
told as (
  select delivery.id, case
    when concat_ws(' ', state, trail) <> all(${POSSIBLE_TRAILS}) then format('no way leads to state %s by "%s"', state, trail)
    when state = ${sent} and reason = 'settled as sent' and coalesce(trail, '') not like '%uncertain' then 'settled without a doubt'
    when state = ${expired} and (expires_at is null or expires_at > finished_at) then 'expired before its time'
    when state = ${cancelled} and coalesce(reason, 'cancelled') = 'cancelled' and not exists (
      select from event where event.id = delivery.event_id and ${IS_CANCELLED}) then 'cancelled by nobody'
    when state = ${skipped} and reason is null then 'skipped without a reason'
    end as fault
  from delivery left join log on delivery_id = delivery.id where delivery.id > $1 and delivery.id <= $2
)
select id, fault as detail from told where fault is not null
order by id limit $3`,
  },
  {
    name: 'doubt-is-kept',
    says: 'What is uncertain waits for a person as a dead letter',
    scope: 'delivery',
    sql: `
select id, 'it is no dead letter' as detail from delivery
where id > $1 and id <= $2 and state = ${uncertain}
  and not exists (select from dead where delivery_id = id and kind = 'uncertain')
order by id limit $3`,
  },
  {
    name: 'dead-letter-is-true',
    says: 'A dead letter is about a delivery that failed or is uncertain',
    scope: 'dead',
    sql: `
select delivery_id as id, format('kept as %s, its state is %s', kind, coalesce(state::text, 'unknown')) as detail
from dead left join delivery on id = delivery_id
where delivery_id > $1 and delivery_id <= $2
  and state is distinct from case kind when 'failed' then ${failed} else ${uncertain} end
order by delivery_id limit $3`,
  },
  {
    name: 'sent-is-in-history',
    says: 'What was sent is in the history of its user, unless it was replaced there or has yet to be shown',
    scope: 'delivery',
    needs: 'notificationDays',
    sql: `
select delivery.id, format('there is no notification %s', notification_id) as detail
from delivery join event on event.id = delivery.event_id join event_type on event_type.id = event_type_id
where delivery.id > $1 and delivery.id <= $2 and state = ${sent}
  and ($4 = 0 or finished_at > now() - make_interval(days => $4))
  and payload ->> 'collapse_key' is null and definition ->> 'collapse_path' is null
  and not exists (select from notification where notification.id = notification_id)
  and not exists (
    select from delivery other where other.event_id = delivery.event_id and other.notification_id = delivery.notification_id
      and other.state = ${ready})
order by delivery.id limit $3`,
  },
  {
    name: 'newest-is-shown',
    says: 'What replaces an earlier notification is not replaced by it again',
    scope: 'delivery',
    sql: `
select delivery.id, format('notification %s shows the older event %s', notification_id, notification.event_id) as detail
from delivery join notification on notification.id = notification_id join event on event.id = delivery.event_id
left join collapse on collapse.company_id = delivery.company_id and collapse.user_id = delivery.user_id
  and collapse.collapse_key = event.collapse_key
where delivery.id > $1 and delivery.id <= $2 and notification.event_id <> delivery.event_id
  and coalesce(collapse.event_id = delivery.event_id, notification.event_id < delivery.event_id)
order by delivery.id limit $3`,
  },
  {
    name: 'shown-has-seq',
    says: 'A notification that was shown in the inbox has a number there',
    scope: 'delivery',
    needs: 'inboxChannels',
    sql: `
select delivery.id, format('notification %s has no number', notification_id) as detail
from delivery join notification on notification.id = notification_id
where delivery.id > $1 and delivery.id <= $2 and state = ${sent} and channel = any($4::text[]) and seq is null
order by delivery.id limit $3`,
  },
  {
    name: 'seq-is-counted',
    says: 'No notification has a number that its inbox has not given out',
    scope: 'notification',
    sql: `
select id, format('seq %s, the inbox is at %s', seq, coalesce(head::text, 'none')) as detail
from notification left join inbox using (company_id, user_id)
where id > $1 and id <= $2 and seq > coalesce(head, 0)
order by id limit $3`,
  },
  {
    name: 'head-is-used',
    says: 'The last number that an inbox gave out is that of a notification, so that nobody waits for one without',
    scope: 'inbox',
    needs: 'notificationDays',
    sql: `
select concat_ws('/', nullif(company_id, ''), user_id) as id, format('head %s, last seq %s', head, coalesce(last, 0)) as detail
from inbox, lateral (
  select max(seq) as last from notification n
  where n.company_id = inbox.company_id and n.user_id = inbox.user_id and seq is not null
) as numbered
where (company_id, user_id) > (($1::text[])[1], ($1::text[])[2]) and (company_id, user_id) <= (($2::text[])[1], ($2::text[])[2])
  and head <> coalesce(last, 0)
  -- Once notifications grow old, that one may be gone.
  and ($4 = 0 or (select min(created_at) from event_type) > now() - make_interval(days => $4))
order by company_id, user_id limit $3`,
  },
  {
    name: 'seq-is-unique',
    says: 'No two notifications of an inbox share a number',
    scope: 'inbox',
    sql: `
select concat_ws('/', nullif(company_id, ''), user_id) as id,
  format('seq %s: notifications %s', seq, string_agg(n.id::text, ', ' order by n.id)) as detail
from inbox join notification n using (company_id, user_id)
where (company_id, user_id) > (($1::text[])[1], ($1::text[])[2]) and (company_id, user_id) <= (($2::text[])[1], ($2::text[])[2])
  and seq is not null
group by company_id, user_id, seq having count(*) > 1
order by company_id, user_id limit $3`,
  },
]
