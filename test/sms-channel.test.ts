import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { expect, suite, test } from 'vitest'
import { channelContract } from '../src/channels/channel.contract.ts'
import { sms } from './sms-channel.ts'

const NUMBER = '+79990000001'

const accept: RequestListener = (_request, response) => response.writeHead(202, { 'x-message-id': 'm1' }).end()
const read = (file: string): Promise<string> => readFile(path.join(import.meta.dirname, '..', file), 'utf8')

channelContract('sms, the example of the documentation', async () => {
  let answer = accept
  const gateway = createServer((request, response) => answer(request, response))
  gateway.listen(0, '127.0.0.1')
  await once(gateway, 'listening')
  const { port } = gateway.address() as AddressInfo
  const settings = { SMS_GATEWAY_URL: `http://127.0.0.1:${port}/messages` }

  return {
    definition: sms,
    channel: sms.open(settings, {} as Parameters<typeof sms.open>[1]),
    user: {
      company_id: '',
      user_id: 'u1',
      locale: null,
      time_zone: null,
      profile: {},
      addresses: [{ id: '1', channel: 'sms', value: NUMBER, state: 'active' }],
    },
    refuse: () => {
      answer = (_request, response) => response.writeHead(404).end(`No such number: ${NUMBER}`)
    },
    hang: () => {
      answer = () => {}
    },
    async close() {
      gateway.closeAllConnections()
      gateway.close()
      await once(gateway, 'close')
    },
  }
})

suite('the documentation of new channels', () => {
  test('shows the example as it is tested', async () => {
    const [page, example] = await Promise.all([read('docs/channels/new-channel.md'), read('test/sms-channel.ts')])

    const shown = /```ts\n(\/\/ src\/channels\/sms\.ts\n[\s\S]*?)```/.exec(page)?.[1]

    const asIfThere = example.replaceAll("'../src/channels/", "'./").replaceAll("'../src/", "'../")
    expect(shown).toBe(`// src/channels/sms.ts\n${asIfThere}`)
  })
})
