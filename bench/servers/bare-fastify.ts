/** The least that can be done: one route, one insert. */
import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import pg from 'pg'
import { serveParent } from './serve-parent.ts'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
await pool.query('create table bare (id uuid primary key, body jsonb not null)')

const app = Fastify()
app.post('/api/v1/events', async (request, reply) => {
  await pool.query('insert into bare (id, body) values ($1, $2)', [randomUUID(), JSON.stringify(request.body)])
  return reply.code(202).send({ status: 'accepted' })
})
serveParent(await app.listen({ port: 0, host: '127.0.0.1' }), async () => {
  await app.close()
  await pool.end()
})
