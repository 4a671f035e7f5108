import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { chromiumPath } from './browser.ts'
import { item, startDemoPage, type DemoPage } from './demo-page.ts'

suite.runIf(chromiumPath)('hostile text on the pages', () => {
  let demo: DemoPage

  beforeAll(async () => {
    demo = await startDemoPage()
  })
  afterAll(() => demo.close())

  test('shows hostile text as text, in the list, the toast and the mail', async () => {
    const { page, faults, close } = await demo.open()

    for (const [index, hostile] of HOSTILE.entries()) {
      const title = `${index} ${hostile}`
      await demo.happen({
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
    await page.goto(`${demo.server.url}/outbox`)
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
    const { page, close } = await demo.open()
    await demo.happen({ title: 'Tampered', cta: { label: 'Open', url: 'https://example.com/' } })
    await item(page, 'Tampered').waitFor()

    for (const url of ['javascript:__pwn=1', 'data:text/html,x', '//evil.example', 'https://ok@evil.example']) {
      await demo.server.database.db.query(
        `update notification set cta = jsonb_build_object('label', 'Open', 'url', $1::text) where user_id = 'demo'`,
        [url],
      )
      await page.reload()
      await item(page, 'Tampered').waitFor()
      expect(await page.locator('#feed a').count()).toBe(0)
    }
    await close()
  })
})

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
