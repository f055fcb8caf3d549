// The page as a browser shows it, for the README. Chromium is the system's: nothing is downloaded.
import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'

// Two in a row: throughput, CPU and latencies.
const shownFigures = 6

export const chromiumPath = '/usr/bin/chromium'

export function missingChromium(): string | undefined {
  return existsSync(chromiumPath) ? undefined : 'chromium is not installed'
}

/** Opens a page from a file for as long as `look` takes. */
export async function withPage<Result>(
  file: string,
  { dark = false }: { readonly dark?: boolean },
  look: (page: Page, complaints: readonly string[]) => Promise<Result>,
): Promise<Result> {
  // As root, which a bench often is, Chromium runs without its sandbox alone; what it is shown is our own.
  const browser: Browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] })
  try {
    const page = await browser.newPage({
      viewport: { width: 1280, height: 900 },
      colorScheme: dark ? 'dark' : 'light',
    })
    const complaints: string[] = []
    page.on('console', message => complaints.push(message.text()))
    page.on('pageerror', error => complaints.push(error.message))
    page.on('request', request => {
      if (!/^(file|data):/.test(request.url())) complaints.push(`it asks for ${request.url()}`)
    })
    await page.goto(pathToFileURL(file).href)
    return await look(page, complaints)
  } finally {
    await browser.close()
  }
}

export async function takePicture(file: string, picture: string): Promise<void> {
  await withPage(file, {}, async page => {
    const bottoms = await page.$$eval('figure', nodes =>
      nodes.map(node => node.getBoundingClientRect().bottom),
    )
    const height = (bottoms[Math.min(shownFigures, bottoms.length) - 1] ?? 900) + 20
    await page.screenshot({ path: picture, clip: { x: 0, y: 0, width: 1280, height }, fullPage: true })
  })
}
