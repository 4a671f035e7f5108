import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { API_KEY, startTestApp, type TestApp } from '../app.ts'
import { accessibilityFaults, chromiumPath, screenshot, startBrowser, type TestBrowser } from './browser.ts'

suite.runIf(chromiumPath)('the pages of a server without the demo', () => {
  let server: TestApp
  let browser: TestBrowser

  beforeAll(async () => {
    server = await startTestApp({ DEMO: 'false' })
    browser = await startBrowser()
  })
  afterAll(async () => {
    await browser.close()
    await server.close()
  })

  test('say what it is, to everybody', async () => {
    const { page, faults, close } = await browser.visit(server.url)

    expect(await page.getByRole('heading').allInnerTexts()).toEqual([
      'This is an EventCenter server',
      'Это сервер EventCenter',
    ])
    expect(await accessibilityFaults(page)).toEqual([])
    await screenshot(page, 'about')
    expect(faults).toEqual([])
    await close()
  })

  test('open the outbox for a key, and for no other', async () => {
    await server.call('PUT', '/api/v1/users/anna', { email: 'anna@example.com' })
    await server.call('POST', '/api/v1/events', {
      user_id: 'anna',
      type: 'system.alert',
      title: 'Look here',
      body: 'Something broke',
    })
    const { page, close } = await browser.visit(`${server.url}/outbox`)
    const key = page.getByLabel('API key with the right “outbox:read”')
    await key.waitFor()
    expect(await accessibilityFaults(page)).toEqual([])
    await screenshot(page, 'outbox-key')

    await key.fill('sk_wrong')
    await page.getByRole('button', { name: 'Open' }).click()
    await page.getByText('The outbox could not be loaded: The API key is not valid').waitFor()
    await key.fill(API_KEY)
    await page.getByRole('button', { name: 'Open' }).click()
    await page.getByRole('button', { name: 'Look here' }).click()

    await page.frameLocator('#html-part iframe').getByRole('paragraph').filter({ hasText: 'Something broke' }).waitFor()
    await page.getByRole('button', { name: 'Text' }).click()
    expect(await page.locator('#text-part').innerText()).toContain('Something broke')
    expect(await key.isVisible()).toBe(false)
    await close()
  })
})
