import { curlOf } from './curl.ts'
import { byId, element, setText } from './dom.ts'
import { presetEvent, PRESETS, progressEvents, type DemoEvent, type Preset } from './events.ts'
import { currentLanguage, onLanguage, say } from './language.ts'
import { RequestError } from './service.ts'

type Send = (event: DemoEvent) => Promise<{ event_id: string }>

const STEP_MS = 700

/** The form that sends example events, and shows the same request as a command. */
export function sender(userId: string, key: () => string, send: Send): void {
  const choices = byId('presets', HTMLElement)
  const command = byId('command', HTMLElement)
  const result = byId('result', HTMLElement)
  const copy = byId('copy', HTMLButtonElement)
  const button = byId('send', HTMLButtonElement)
  let preset: Preset = 'done'

  for (const one of PRESETS) {
    const input = element('input', { type: 'radio', name: 'preset', value: one, checked: one === preset })
    input.addEventListener('change', () => {
      preset = one
      show()
    })
    choices.append(element('label', {}, input, element('span', { 'data-text': `preset.${one}` }, say(`preset.${one}`))))
  }
  button.addEventListener('click', () => void sendIt())
  copy.addEventListener('click', () => void copyIt())
  onLanguage(show)
  show()

  function show(): void {
    setText(command, curlOf(location.origin, key(), presetEvent(preset, userId, currentLanguage())))
  }

  async function sendIt(): Promise<void> {
    try {
      const events =
        preset === 'progress'
          ? progressEvents(userId, currentLanguage(), `report-${Date.now()}`)
          : [presetEvent(preset, userId, currentLanguage())]
      for (const [index, event] of events.entries()) {
        if (index > 0) await new Promise((resolve) => setTimeout(resolve, STEP_MS))
        const { event_id } = await send(event)
        setText(result, say('send.accepted', { id: event_id }))
      }
      show() // the key may be a new one
    } catch (error) {
      const reason = error instanceof RequestError ? error.message : say('send.unreachable')
      setText(result, say('send.failed', { reason }))
    }
  }

  async function copyIt(): Promise<void> {
    await navigator.clipboard.writeText(command.textContent ?? '')
    setText(copy, say('send.copied'))
    setTimeout(() => setText(copy, say('send.copy')), 2_000)
  }
}
