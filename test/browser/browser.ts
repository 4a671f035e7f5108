import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'

const ROOT = path.join(import.meta.dirname, '../..')
const SCREENSHOTS = path.join(ROOT, 'test/output')

/** Where the usual systems keep a Chromium; CHROMIUM names another one. */
const PLACES = [
  process.env['CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** The browser of this machine; undefined where there is none. */
export const chromiumPath = PLACES.find((place) => place !== undefined && existsSync(place))

/** A page as one visitor has it, with what went wrong in it. */
export type Visit = { page: Page; faults: string[]; close: () => Promise<void> }

export type TestBrowser = {
  visit: (url: string, options?: BrowserContextOptions) => Promise<Visit>
  close: () => Promise<void>
}

/** A headless browser with a profile of its own. */
export async function startBrowser(): Promise<TestBrowser> {
  await mkdir(SCREENSHOTS, { recursive: true })
  const profile = await mkdtemp(path.join(tmpdir(), 'eventcenter-browser-'))
  const browser: Browser = await chromium.launch({
    ...(chromiumPath !== undefined && { executablePath: chromiumPath }),
    env: { ...process.env, HOME: profile },
    args: [
      '--no-sandbox', // tests may run as root
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

  return {
    async visit(url, options = {}) {
      const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, ...options })
      const page = await context.newPage()
      const faults: string[] = []
      page.on('pageerror', (error) => faults.push(`error: ${error.message}`))
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') faults.push(`console: ${message.text()}`)
      })
      await page.goto(url)
      return { page, faults, close: () => context.close() }
    },
    async close() {
      await browser.close()
      await rm(profile, { recursive: true, force: true })
    },
  }
}

/** Keeps what the page looks like, for people. */
export const screenshot = (page: Page, name: string): Promise<unknown> =>
  page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true })

/** What breaks WCAG 2.2 AA or good practice, in words; empty when nothing does. Frames that run nothing run no check. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).exclude('iframe[sandbox]').analyze()
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${help}: ${html} ${failureSummary}`),
  )
}
