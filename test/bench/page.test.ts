// The page in a real browser: what it shows is what was measured.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { writePage } from '../../bench/page/page.ts'
import { takePicture, withPage } from '../../bench/page/picture.ts'
import { chains, resultsOf, throughput, value } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'sidesplice-page-'))
const file = join(folder, 'page.html')
const gbits = { 'sidesplice-native': 8.25, nginx: 4.5, haproxy: 3, floor: 10, direct: 40 }
const curve = [
  [0, 50],
  [0.5, 80],
  [0.99, 400],
  [1, 2_000],
] as const

before(() => {
  const round = throughput(gbits)
  for (const chain of Object.keys(round)) {
    const part = round[chain] ?? {}
    part['rtt-64-1'] = value({ p50: chain === 'direct' ? 40 : 80, p99: 400, p999: 900 }, curve)
    part.idle = value({ 'a-pss-0': 1_000, 'b-pss-0': 1_000, 'a-pss-8000': 5_000, 'b-pss-8000': 6_000 })
  }
  const scenarios = { 'bulk-up-1': '1 stream up', 'rtt-64-1': 'round trips of 64 B, 1 connection' }
  writePage(resultsOf([round], { ...scenarios, idle: 'memory' }), file)
})
after(() => rmSync(folder, { recursive: true, force: true }))

for (const dark of [false, true])
  test(`each chart stands there with its values, ${dark ? 'dark' : 'light'}`, async () => {
    await withPage(file, { dark }, async (page, complaints) => {
      const bars = await page.$$eval('[data-chart="bulk-up-1"] [data-chain]', nodes =>
        nodes.map(node => [node.getAttribute('data-chain'), Number(node.getAttribute('data-value'))]),
      )
      assert.deepEqual(Object.fromEntries(bars), gbits)
      const widths = await page.$$eval('[data-chart="bulk-up-1"] rect', nodes =>
        nodes.map(node => node.getBoundingClientRect().width),
      )
      const [own = 0, nginx = 0] = widths
      assert.ok(Math.abs(own / nginx - 8.25 / 4.5) < 0.01, `${own} and ${nginx} pixels`)
      for (const name of ['rtt-64-1-curve', 'memory', 'bulk-up-1-cpu', 'rtt-64-1-p50']) {
        const box = await page.locator(`[data-chart="${name}"]`).boundingBox()
        assert.ok(box !== null && box.width > 200 && box.height > 80, name)
      }
      const points = await page.$$eval('[data-chart="rtt-64-1-curve"] [data-chain]', nodes =>
        nodes.map(node => Number(node.getAttribute('data-points'))),
      )
      assert.deepEqual(
        points,
        Object.keys(chains).map(() => curve.length),
      )
      assert.match(await page.locator('body').innerText(), /nginx <stream>/, 'names are escaped')
      assert.deepEqual(complaints, [])
    })
  })

test('no label is cut off or lies over another', async () => {
  await withPage(file, {}, async page => {
    const found = await page.$$eval('svg', charts =>
      charts.flatMap(chart => {
        const frame = chart.getBoundingClientRect()
        const labels = [...chart.querySelectorAll('text')].map(node => ({
          said: `${chart.getAttribute('data-chart')}: ${node.textContent}`,
          box: node.getBoundingClientRect(),
        }))
        const outside = labels.filter(({ box }) => box.left < frame.left - 1 || box.right > frame.right + 1)
        const over = labels.filter(({ box }, at) =>
          labels.some(
            (other, index) =>
              index > at &&
              box.left < other.box.right - 1 &&
              other.box.left < box.right - 1 &&
              box.top < other.box.bottom - 3 &&
              other.box.top < box.bottom - 3,
          ),
        )
        return [...outside, ...over].map(({ said }) => said)
      }),
    )
    assert.deepEqual(found, [])
  })
})

test('targets are listed with what became of them', async () => {
  await withPage(file, {}, async page => {
    const row = await page
      .locator('tr', { hasText: 'one stream up: Gbit/s against the best TLS peer' })
      .innerText()
    assert.deepEqual(row.split('\t').slice(1), ['≥ 1.6 x', '1.83 x', '1.83 to 1.83', 'met'])
    assert.ok((await page.locator('tr[data-target="unknown"]').count()) > 3)
  })
})

test('it fetches nothing and runs no script', () => {
  const text = readFileSync(file, 'utf8')
  assert.doesNotMatch(text, /<script|https?:|@import|url\(/)
})

test('a picture of it can be taken', async () => {
  const picture = join(folder, 'page.png')
  await takePicture(file, picture)
  const bytes = readFileSync(picture)
  assert.deepEqual([...bytes.subarray(1, 4)].map(one => String.fromCharCode(one)).join(''), 'PNG')
  assert.equal(bytes.readUInt32BE(16), 1280)
})
