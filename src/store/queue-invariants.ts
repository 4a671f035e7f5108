import { STATES } from '../core/delivery.ts'

const { ready } = STATES

/** Where a delivery may be while it is not over, with the name of the place. */
const PLACES = `(
  select id, 'queue' as place from ready union all select unnest(ids), 'lease' from lease
  union all select delivery_id, 'thread' from thread_waiting
)`

/** What must be true of the queue as a whole: `$1` violations are told (see `INVARIANTS`). */
export const QUEUE_INVARIANTS = [
  {
    name: 'held-once',
    says: 'A delivery is in one place only: once in the queue, in one lease, or once in its thread',
    sql: `
select id, format('%s times in the queue, in %s leases', count(*) filter (where place = 'queue'),
  count(*) filter (where place = 'lease')) || case when bool_or(place = 'thread') then ', waits for its turn' else '' end as detail
from ${PLACES} as held
group by id having count(*) > 1
order by id limit $1`,
  },
  {
    name: 'settled-is-free',
    says: 'Nothing that is settled is in the queue, in a lease or waits for its turn',
    sql: `
select held.id, case when state is null then format('in the %s, and unknown', place)
  else format('in the %s, and settled as %s', place, state) end as detail
from ${PLACES} as held
left join delivery on delivery.id = held.id
where state is distinct from ${ready}
order by held.id limit $1`,
  },
  {
    name: 'turn-is-live',
    says: 'In each thread it is the turn of a delivery that is not over, and the others wait behind it',
    sql: `
select head as id, format('it is over, and %s wait behind it', (
  select count(*) from thread_waiting where thread_waiting.key = thread.key)) as detail
from thread where not exists (
  select from delivery where delivery.id = head and state = ${ready} and delivery.thread = thread.key)
union all
select delivery_id, format('waits at place %s of a thread that has %s', place, coalesce(last_place::text, 'none'))
from thread_waiting left join thread using (key)
where place > coalesce(last_place, 0) or not exists (
  select from delivery where delivery.id = delivery_id and delivery.thread = thread_waiting.key)
order by 1 limit $1`,
  },
  {
    name: 'intent-has-lease',
    says: 'What may be on its way to a provider is in a lease, so that its end is noticed',
    sql: `
select id, format('lease %s is gone; deliveries %s', lease_id, array_to_string(ids[1:20], ', ')) as detail from intent
where not exists (select from lease where lease.id = intent.lease_id)
order by id limit $1`,
  },
]
