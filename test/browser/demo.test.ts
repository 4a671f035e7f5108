import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { startProxy } from '../account-server.ts'
import { chromiumPath, screenshot } from './browser.ts'
import { bell, item, toast, startDemoPage, type DemoPage } from './demo-page.ts'

suite.runIf(chromiumPath)('the demo page', () => {
  let demo: DemoPage

  beforeAll(async () => {
    demo = await startDemoPage()
  })
  afterAll(() => demo.close())

  test('shows at once, in every window, what the shown command sends', async () => {
    const [first, second] = [await demo.open(), await demo.browser.visit(demo.server.url)]
    await second.page.locator('#status[data-status=live]').waitFor()
    const command = await first.page.locator('#command').innerText()
    const [, key = '', body = ''] = /Bearer (sk_\w+)'[^]*-d '([^]*)'$/.exec(command) ?? []

    const answer = await demo.server.call('POST', '/api/v1/events', body, {
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
    const { page, faults, close } = await demo.open()

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
    const proxy = await startProxy(() => Number(new URL(demo.server.url).port))
    const { page, close } = await demo.open({}, proxy.url)

    proxy.break()
    await page.getByText('Reconnecting…').waitFor()
    await demo.happen({ title: 'While you were away' })
    proxy.mend()

    await page.locator('#status[data-status=live]').waitFor()
    await item(page, 'While you were away').waitFor()
    await close()
    await proxy.stop()
  })

  test('archives, reads all, and keeps the focus in the list', async () => {
    const { page, close } = await demo.open()
    for (const title of ['One', 'Two', 'Three']) await demo.happen({ title })
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
})
