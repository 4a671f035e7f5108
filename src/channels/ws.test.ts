import { expect, suite, test } from 'vitest'
import { testMessage } from '../../test/message.ts'
import type { LiveFrame } from '../bus/bus.ts'
import { memoryBus } from '../bus/memory.ts'
import type { User } from '../directory/directory.ts'
import { channelContract } from './channel.contract.ts'
import type { ChannelPorts } from './channel.ts'
import { ws } from './ws.ts'

const USER: User = { company_id: 'acme', user_id: 'anna', locale: null, time_zone: null, profile: {}, addresses: [] }

const open = (ports: Partial<ChannelPorts>) => ws.open({}, ports as ChannelPorts)

channelContract('ws', async () => {
  const bus = memoryBus()
  return {
    definition: ws,
    channel: open({ bus }),
    user: USER,
    refuse: null,
    hang: null,
    close: () => bus.close(),
  }
})

suite('the live inbox', () => {
  test('gets a frame with the notification and its seq, for its user alone', async () => {
    const bus = memoryBus()
    const frames: LiveFrame[] = []
    const { stop } = await bus.subscribe(
      (frame) => frames.push(frame),
      () => {},
    )
    const channel = open({ bus })
    const message = { ...testMessage({}, { seq: 7 }), companyId: 'acme' }

    await channel.send(channel.address(USER)!, message, new AbortController().signal)
    await channel.send(channel.address(USER)!, { ...message, isUpdate: true }, new AbortController().signal)

    await expect.poll(() => frames.length).toBe(2)
    expect(frames).toMatchObject([
      { company_id: 'acme', user_id: 'anna', seq: '7', frame: { type: 'notification' } },
      { company_id: 'acme', user_id: 'anna', seq: '7', frame: { type: 'notification_updated' } },
    ])
    expect(frames[0]?.frame).toEqual({ type: 'notification', data: { notification: message.notification } })
    await stop()
    await bus.close()
  })
})
