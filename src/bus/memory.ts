import type { Bus, LiveFrame } from './bus.ts'

type Subscriber = { onFrame: (frame: LiveFrame) => void }

/** The bus of one process: gateway and workers live together, so nothing is lost and nothing can be away. */
export function memoryBus(): Bus {
  const subscribers = new Set<Subscriber>()
  let isClosed = false

  return {
    publish: async (frame) => {
      if (isClosed) throw new Error('The bus is closed')
      // After the publisher's own turn, so that a subscriber's fault or work is never the publisher's.
      setImmediate(() => {
        for (const subscriber of subscribers) subscriber.onFrame(frame)
      })
    },

    subscribe: async (onFrame) => {
      const subscriber = { onFrame }
      subscribers.add(subscriber)
      return {
        stop: async () => {
          subscribers.delete(subscriber)
        },
      }
    },

    check: async () => {
      if (isClosed) throw new Error('The bus is closed')
    },

    close: async () => {
      isClosed = true
      subscribers.clear()
    },
  }
}
