import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { accessibilityFaults, chromiumPath, screenshot } from './browser.ts'
import { bell, item, toast, startDemoPage, type DemoPage } from './demo-page.ts'

suite.runIf(chromiumPath)('everybody can use the pages:', () => {
  let demo: DemoPage

  beforeAll(async () => {
    demo = await startDemoPage()
  })
  afterAll(() => demo.close())

  test('keeps what is new out of the way of somebody who reads', async () => {
    const { page, close } = await demo.open()
    await demo.happen({ title: 'Being read' })
    await item(page, 'Being read').focus()

    await demo.happen({ title: 'Just came' })

    await page.getByRole('button', { name: 'Show 1 new' }).waitFor()
    expect(await page.locator('#feed article').count()).toBe(1)
    await page.getByRole('button', { name: 'Show 1 new' }).click()
    await expect.poll(() => page.locator('#feed article h3').allInnerTexts()).toEqual(['Just came', 'Being read'])
    await close()
  })

  test('reads bursts out as one sentence, and never takes the focus', async () => {
    const { page, close } = await demo.open()
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

    await Promise.all(Array.from({ length: 20 }, (_, index) => demo.happen({ title: `Burst ${index}` })))

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
    const { page, close } = await demo.open()
    await demo.happen({ title: 'Look at me', cta: { label: 'Open', url: '/outbox' } })
    await toast(page, 'Look at me').waitFor()
    await page.locator('#send').focus()

    await page.keyboard.press('F6')
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe('Look at me')
    await page.keyboard.press('Escape')

    expect(await toast(page, 'Look at me').count()).toBe(0)
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('send')
    await close()
  })

  test.each([
    ['en-GB', 'light'],
    ['en-GB', 'dark'],
    ['ru-RU', 'light'],
    ['ru-RU', 'dark'],
  ] as const)('has no fault that axe can find, in %s and %s', async (locale, colorScheme) => {
    const { page, faults, close } = await demo.open({ locale, colorScheme })
    for (const level of ['info', 'warning', 'error', 'critical']) {
      await demo.happen({ title: `Ready: ${level}`, level, cta: { label: 'Open', url: 'https://example.com/' } })
    }
    await demo.happen({
      type: 'job.progress',
      title: 'Progress',
      data: { job_id: `axe ${locale} ${colorScheme}`, percent: 40 },
    })
    await demo.happen({ type: 'system.alert', title: 'Alarm', body: 'The payment gateway does not answer.' })
    await expect.poll(() => page.locator('#feed article').count()).toBe(6)
    await item(page, 'Ready: info').getByRole('button').first().click()
    await page.locator('.toast').first().waitFor()
    await page.waitForTimeout(400) // the toasts have arrived and are opaque

    expect(await accessibilityFaults(page)).toEqual([])
    expect(await page.locator('html').getAttribute('lang')).toBe(locale.slice(0, 2))
    await screenshot(page, `demo-${locale.slice(0, 2)}-${colorScheme}-axe`)

    await page.goto(`${demo.server.url}/outbox`)
    await page.locator('#mails button').first().click()
    await page.locator('#html-part iframe').waitFor()
    expect(await accessibilityFaults(page)).toEqual([])
    await screenshot(page, `outbox-${locale.slice(0, 2)}-${colorScheme}`)
    expect(faults).toEqual([])
    await close()
  })

  test('fits a small phone', async () => {
    const { page, close } = await demo.open({ viewport: { width: 320, height: 640 }, locale: 'ru-RU' })
    await demo.happen({
      title: 'Очень-длинное-слово-без-единого-пробела-которое-не-помещается-в-строку',
      body: 'Текст',
    })
    await page.locator('#feed article').waitFor()

    for (const url of [demo.server.url, `${demo.server.url}/outbox`]) {
      if (url !== demo.server.url) await page.goto(url)
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      expect(overflow).toBeLessThanOrEqual(0)
    }
    await page.goto(demo.server.url)
    await page.locator('#feed article').waitFor()
    await screenshot(page, 'demo-ru-phone')
    await close()
  })

  test('changes its language at once, with everything on it', async () => {
    const { page, close } = await demo.open()
    await demo.happen({ title: 'Ready' })
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
