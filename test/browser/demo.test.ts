import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import type { Page } from 'playwright-core'
import { startProxy } from '../account-server.ts'
import { startTestApp, type TestApp } from '../app.ts'
import { accessibilityFaults, chromiumPath, screenshot, startBrowser, type TestBrowser, type Visit } from './browser.ts'

suite.runIf(chromiumPath)('the demo page', () => {
  let server: TestApp
  let browser: TestBrowser

  beforeAll(async () => {
    server = await startTestApp({ DEMO: 'true' })
    browser = await startBrowser()
  })
  afterAll(async () => {
    await browser.close()
    await server.close()
  })

  async function open(options?: Parameters<TestBrowser['visit']>[1], url = server.url): Promise<Visit> {
    await emptyInbox()
    const visit = await browser.visit(url, options)
    await visit.page.locator('#status[data-status=live]').waitFor()
    return visit
  }

  async function emptyInbox(): Promise<void> {
    await server.database.db.query(`delete from notification where user_id = 'demo'`)
  }

  const happen = async (event: object): Promise<void> => {
    const { status } = await server.call('POST', '/api/v1/events', {
      user_id: 'demo',
      type: 'job.done',
      title: 'Ready',
      body: 'It is done',
      ...event,
    })
    expect(status).toBe(202)
  }

  test('shows at once, in every window, what the shown command sends', async () => {
    const [first, second] = [await open(), await browser.visit(server.url)]
    await second.page.locator('#status[data-status=live]').waitFor()
    const command = await first.page.locator('#command').innerText()
    const [, key = '', body = ''] = /Bearer (sk_\w+)'[^]*-d '([^]*)'$/.exec(command) ?? []

    const answer = await server.call('POST', '/api/v1/events', body, {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
    })

    expect(answer.status).toBe(202)
    for (const { page } of [first, second]) {
      await toast(page, 'Your report is ready').waitFor()
      await item(page, 'Your report is ready').waitFor()
      await expect.poll(() => bell(page).getAttribute('aria-label')).toBe('Notifications, 1 unread')
      expect(await page.locator('#badge').innerText()).toBe('1')
    }
    await item(first.page, 'Your report is ready').getByRole('button', { name: 'Mark as read' }).click()
    for (const { page } of [first, second]) {
      await expect.poll(() => bell(page).getAttribute('aria-label')).toBe('Notifications, none unread')
      expect(await page.locator('#badge').isVisible()).toBe(false)
      expect(await item(page, 'Your report is ready').locator('.unread').isVisible()).toBe(false)
      expect(await toast(page, 'Your report is ready').count()).toBe(0)
    }
    expect([...first.faults, ...second.faults]).toEqual([])
    await Promise.all([first.close(), second.close()])
  })

  test('sends every example, and draws progress in place', async () => {
    const { page, faults, close } = await open()

    for (const name of ['A job is done', 'A decision is needed', 'Something is broken', 'A message came']) {
      await page.getByRole('radio', { name }).check({ force: true })
      await page.getByRole('button', { name: 'Send it' }).click()
      await page.getByText(/^Accepted: /).waitFor()
    }
    await expect.poll(() => page.locator('#feed article').count()).toBe(4)
    await page.getByRole('radio', { name: 'A job makes progress' }).check({ force: true })
    await page.getByRole('button', { name: 'Send it' }).click()

    const bar = item(page, 'Making your report').getByRole('progressbar')
    await bar.waitFor()
    await screenshot(page, 'demo-en-light')
    await expect.poll(() => bar.getAttribute('value'), { timeout: 10_000 }).toBe('100')
    expect(await page.locator('#feed article').count()).toBe(5)
    expect(await toast(page, 'Making your report').count()).toBe(0)
    expect(await page.locator('#badge').innerText()).toBe('4')
    expect(faults).toEqual([])
    await close()
  })

  test('says that it lost the connection, and has everything when it is back', async () => {
    const proxy = await startProxy(() => Number(new URL(server.url).port))
    const { page, close } = await open({}, proxy.url)

    proxy.break()
    await page.getByText('Reconnecting…').waitFor()
    await happen({ title: 'While you were away' })
    proxy.mend()

    await page.locator('#status[data-status=live]').waitFor()
    await item(page, 'While you were away').waitFor()
    await close()
    await proxy.stop()
  })

  test('archives, reads all, and keeps the focus in the list', async () => {
    const { page, close } = await open()
    for (const title of ['One', 'Two', 'Three']) await happen({ title })
    await expect.poll(() => page.locator('#feed article').count()).toBe(3)

    await item(page, 'Two').getByRole('button', { name: 'Archive: Two' }).focus()
    await page.keyboard.press('Enter')

    await expect.poll(() => page.locator('#feed article').count()).toBe(2)
    expect(await page.evaluate(() => document.activeElement?.closest('#feed') !== null)).toBe(true)
    await page.getByRole('button', { name: 'Mark all as read' }).click()
    await expect.poll(() => page.locator('.is-unread').count()).toBe(0)
    await page.reload()
    await expect.poll(() => page.locator('#feed article').count()).toBe(2)
    await close()
  })

  test('keeps what is new out of the way of somebody who reads', async () => {
    const { page, close } = await open()
    await happen({ title: 'Being read' })
    await item(page, 'Being read').focus()

    await happen({ title: 'Just came' })

    await page.getByRole('button', { name: 'Show 1 new' }).waitFor()
    expect(await page.locator('#feed article').count()).toBe(1)
    await page.getByRole('button', { name: 'Show 1 new' }).click()
    await expect.poll(() => page.locator('#feed article h3').allInnerTexts()).toEqual(['Just came', 'Being read'])
    await close()
  })

  test('reads bursts out as one sentence, and never takes the focus', async () => {
    const { page, close } = await open()
    await page.evaluate(() => {
      const spoken: string[] = []
      Object.assign(globalThis, { spoken })
      for (const region of document.querySelectorAll('.only-spoken')) {
        new MutationObserver(() => region.textContent && spoken.push(region.textContent)).observe(region, {
          childList: true,
        })
      }
    })
    await page.locator('#send').focus()

    await Promise.all(Array.from({ length: 20 }, (_, index) => happen({ title: `Burst ${index}` })))

    await expect.poll(() => page.locator('#feed article').count()).toBe(20)
    await expect
      .poll(() => page.evaluate(() => Reflect.get(globalThis, 'spoken')), { timeout: 5_000 })
      .toEqual(expect.arrayContaining(['20 unread notifications']))
    expect(await page.evaluate(() => (Reflect.get(globalThis, 'spoken') as string[]).length)).toBeLessThanOrEqual(4)
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('send')
    expect(await page.locator('.toast').count()).toBe(3)
    await close()
  })

  test('lets the keyboard reach and dismiss toasts', async () => {
    const { page, close } = await open()
    await happen({ title: 'Look at me', cta: { label: 'Open', url: '/outbox' } })
    await toast(page, 'Look at me').waitFor()
    await page.locator('#send').focus()

    await page.keyboard.press('F6')
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe('Look at me')
    await page.keyboard.press('Escape')

    expect(await toast(page, 'Look at me').count()).toBe(0)
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('send')
    await close()
  })

  test('shows hostile text as text, in the list, the toast and the mail', async () => {
    const { page, faults, close } = await open()

    for (const [index, hostile] of HOSTILE.entries()) {
      const title = `${index} ${hostile}`
      await happen({
        title,
        body: hostile,
        level: 'error',
        channels: ['ws', 'email'],
        cta: { label: hostile.slice(0, 100), url: 'https://example.com/' },
        data: { percent: hostile, hostile },
      })
      await expect.poll(() => page.locator('#feed article h3').first().textContent()).toBe(title)
      expect(await page.locator('#feed article p').first().textContent()).toBe(hostile)
      expect(await page.locator('.toast strong').first().textContent()).toBe(title)
    }
    await page.waitForTimeout(300) // for scripts that would wait

    expect(await page.evaluate(() => Reflect.get(globalThis, '__pwn'))).toBeUndefined()
    expect(faults).toEqual([])
    await page.goto(`${server.url}/outbox`)
    await expect.poll(() => page.locator('#mails button').count()).toBeGreaterThanOrEqual(HOSTILE.length)
    for (let index = 0; index < HOSTILE.length; index++) {
      await page.locator('#mails button').nth(index).click()
      await page.locator('#html-part iframe').waitFor()
    }
    expect(await page.evaluate(() => Reflect.get(globalThis, '__pwn'))).toBeUndefined()
    expect(await page.evaluate(() => Reflect.get(globalThis.frames[0] ?? {}, '__pwn')).catch(() => 'unreachable')).toBe(
      'unreachable',
    )
    await close()
  })

  test('offers no link that could run something, whoever put it there', async () => {
    const { page, close } = await open()
    await happen({ title: 'Tampered', cta: { label: 'Open', url: 'https://example.com/' } })
    await item(page, 'Tampered').waitFor()

    for (const url of ['javascript:__pwn=1', 'data:text/html,x', '//evil.example', 'https://ok@evil.example']) {
      await server.database.db.query(
        `update notification set cta = jsonb_build_object('label', 'Open', 'url', $1::text) where user_id = 'demo'`,
        [url],
      )
      await page.reload()
      await item(page, 'Tampered').waitFor()
      expect(await page.locator('#feed a').count()).toBe(0)
    }
    await close()
  })

  test.each([
    ['en-GB', 'light'],
    ['en-GB', 'dark'],
    ['ru-RU', 'light'],
    ['ru-RU', 'dark'],
  ] as const)('has no fault that axe can find, in %s and %s', async (locale, colorScheme) => {
    const { page, faults, close } = await open({ locale, colorScheme })
    for (const level of ['info', 'warning', 'error', 'critical']) {
      await happen({ title: `Ready: ${level}`, level, cta: { label: 'Open', url: 'https://example.com/' } })
    }
    await happen({
      type: 'job.progress',
      title: 'Progress',
      data: { job_id: `axe ${locale} ${colorScheme}`, percent: 40 },
    })
    await happen({ type: 'system.alert', title: 'Alarm', body: 'The payment gateway does not answer.' })
    await expect.poll(() => page.locator('#feed article').count()).toBe(6)
    await item(page, 'Ready: info').getByRole('button').first().click()
    await page.locator('.toast').first().waitFor()
    await page.waitForTimeout(400) // the toasts have arrived and are opaque

    expect(await accessibilityFaults(page)).toEqual([])
    expect(await page.locator('html').getAttribute('lang')).toBe(locale.slice(0, 2))
    await screenshot(page, `demo-${locale.slice(0, 2)}-${colorScheme}-axe`)

    await page.goto(`${server.url}/outbox`)
    await page.locator('#mails button').first().click()
    await page.locator('#html-part iframe').waitFor()
    expect(await accessibilityFaults(page)).toEqual([])
    await screenshot(page, `outbox-${locale.slice(0, 2)}-${colorScheme}`)
    expect(faults).toEqual([])
    await close()
  })

  test('fits a small phone', async () => {
    const { page, close } = await open({ viewport: { width: 320, height: 640 }, locale: 'ru-RU' })
    await happen({ title: 'Очень-длинное-слово-без-единого-пробела-которое-не-помещается-в-строку', body: 'Текст' })
    await page.locator('#feed article').waitFor()

    for (const url of [server.url, `${server.url}/outbox`]) {
      if (url !== server.url) await page.goto(url)
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      expect(overflow).toBeLessThanOrEqual(0)
    }
    await page.goto(server.url)
    await page.locator('#feed article').waitFor()
    await screenshot(page, 'demo-ru-phone')
    await close()
  })

  test('changes its language at once, with everything on it', async () => {
    const { page, close } = await open()
    await happen({ title: 'Ready' })
    await item(page, 'Ready').waitFor()

    await page.getByRole('button', { name: 'Русский' }).click()

    await page.getByRole('heading', { name: 'Отправить событие' }).waitFor()
    await expect.poll(() => bell(page).getAttribute('aria-label')).toBe('Уведомления, 1 непрочитанное')
    await item(page, 'Ready').getByRole('button', { name: 'Прочитать: Ready' }).waitFor()
    expect(await page.locator('#command').innerText()).toContain('Отчёт готов')
    await page.reload()
    await page.getByRole('heading', { name: 'Отправить событие' }).waitFor()
    await close()
  })
})

const item = (page: Page, title: string) => page.locator('#feed article', { hasText: title })
const toast = (page: Page, title: string) => page.locator('.toast', { hasText: title })
const bell = (page: Page) => page.locator('#bell')

const HOSTILE = [
  '<script>__pwn=1</script>',
  '<img src=x onerror="__pwn=1">',
  '"><svg onload=__pwn=1>',
  `'-__pwn=1-'`,
  '<iframe srcdoc="<script>parent.__pwn=1</script>"></iframe>',
  '{{constructor.constructor("__pwn=1")()}}',
  '${__pwn=1}',
  '<a href="javascript:__pwn=1">x</a>',
  '</title></textarea></script><script>__pwn=1</script>',
  '<math><mi xlink:href="data:x,<script>__pwn=1</script>">',
  '&lt;script&gt;__pwn=1&lt;/script&gt;',
  '<style>*{display:none}</style><base href="https://evil.example/">',
]
