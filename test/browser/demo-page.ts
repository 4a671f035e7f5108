import type { Locator, Page } from 'playwright-core'
import { startTestApp, type TestApp } from '../app.ts'
import { startBrowser, type TestBrowser, type Visit } from './browser.ts'

/** The whole server with its demo page, and a browser to open it. */
export type DemoPage = {
  server: TestApp
  browser: TestBrowser
  /** Opens the page with an empty inbox, and waits until it is live. */
  open: (options?: Parameters<TestBrowser['visit']>[1], url?: string) => Promise<Visit>
  /** Sends an event to the user of the page. */
  happen: (event: object) => Promise<void>
  close: () => Promise<void>
}

export async function startDemoPage(): Promise<DemoPage> {
  const server = await startTestApp({ DEMO: 'true' })
  const browser = await startBrowser()

  return {
    server,
    browser,
    async open(options, url = server.url) {
      await server.database.db.query(`delete from notification where user_id = 'demo'`)
      const visit = await browser.visit(url, options)
      await visit.page.locator('#status[data-status=live]').waitFor()
      return visit
    },
    async happen(event) {
      const said = { user_id: 'demo', type: 'job.done', title: 'Ready', body: 'It is done', ...event }
      const { status, body } = await server.call('POST', '/api/v1/events', said)
      if (status !== 202) throw new Error(`The event was not accepted: ${JSON.stringify(body)}`)
    },
    async close() {
      await browser.close()
      await server.close()
    },
  }
}

export const item = (page: Page, title: string): Locator => page.locator('#feed article', { hasText: title })
export const toast = (page: Page, title: string): Locator => page.locator('.toast', { hasText: title })
export const bell = (page: Page): Locator => page.locator('#bell')
