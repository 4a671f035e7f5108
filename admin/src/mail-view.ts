import { byId, element, setText } from './dom.ts'
import { currentLanguage, say } from './language.ts'
import type { FullMail } from './outbox-api.ts'

/** Shows one mail: its HTML in a frame that runs nothing and belongs to no site, or its text. */
export function mailView(): { show: (mail: FullMail) => void; translate: () => void } {
  const subject = byId('mail-subject', HTMLElement)
  const htmlPart = byId('html-part', HTMLElement)
  const textPart = byId('text-part', HTMLElement)
  const htmlButton = byId('show-html', HTMLButtonElement)
  const textButton = byId('show-text', HTMLButtonElement)
  let shown: FullMail | null = null
  htmlButton.addEventListener('click', () => choose(true))
  textButton.addEventListener('click', () => choose(false))

  return {
    show(mail) {
      shown = mail
      delete subject.dataset['text']
      setText(subject, mail.subject)
      setText(byId('mail-from', HTMLElement), mail.from)
      setText(byId('mail-to', HTMLElement), mail.to)
      setText(textPart, mail.text)
      byId('mail-content', HTMLElement).hidden = false
      byId('parts', HTMLElement).hidden = mail.html === null
      htmlPart.replaceChildren(...(mail.html === null ? [] : [frameOf(mail.html)]))
      choose(mail.html !== null)
      translate()
      byId('mail', HTMLElement).focus()
    },
    translate,
  }

  function translate(): void {
    if (!shown) return
    setText(byId('mail-time', HTMLElement), new Date(shown.created_at).toLocaleString(currentLanguage()))
    htmlPart.querySelector('iframe')?.setAttribute('title', say('outbox.frame'))
  }

  function choose(isHtml: boolean): void {
    htmlPart.hidden = !isHtml
    textPart.hidden = isHtml
    htmlButton.setAttribute('aria-pressed', String(isHtml))
    textButton.setAttribute('aria-pressed', String(!isHtml))
  }
}

/**
 * An empty `sandbox`: no scripts, no forms, no origin, and links cannot leave the frame. The policy of the page holds in
 * it too, so nothing is fetched from elsewhere and nobody learns that the mail was opened.
 */
function frameOf(html: string): HTMLIFrameElement {
  return element('iframe', { sandbox: '', srcdoc: html, title: say('outbox.frame'), referrerpolicy: 'no-referrer' })
}
