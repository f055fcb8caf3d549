// The cases of a C++ test program, as its JUnit report has them.
export interface Case {
  readonly name: string
  readonly failure: string | undefined
}

/** Of doctest's JUnit report. */
export function casesOf(xml: string): readonly Case[] {
  return [...xml.matchAll(/<testcase [^>]*?\bname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(
    found => ({
      name: plain(found[1] ?? ''),
      failure: found[2]?.includes('<failure') || found[2]?.includes('<error') ? plain(found[2]) : undefined,
    }),
  )
}

function plain(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&')
}
