import { busContract } from './bus.contract.ts'
import { memoryBus } from './memory.ts'

busContract('memoryBus', async () => {
  const bus = memoryBus()
  return { here: bus, there: bus, close: () => bus.close() }
})
