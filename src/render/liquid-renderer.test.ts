import { afterAll, expect, suite, test } from 'vitest'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Json, JsonObject } from '../core/json.ts'
import { liquidRenderer } from './liquid-renderer.ts'
import { TemplateError } from './renderer.ts'

const renderer = liquidRenderer()
afterAll(() => renderer.close())

const EVENT: JsonObject = { type: 'job.done', title: 'Готово' }

function render(
  body: string,
  data: JsonObject = {},
  format: 'html' | 'text' = 'html',
  subject = '',
  user: JsonObject = {},
) {
  const variables = { user: { user_id: '42', ...user }, event: EVENT, data, links: { inbox: 'https://example.com' } }
  return renderer.render({ subject, body }, format, variables, 'ru')
}

const bodyOf = async (...args: Parameters<typeof render>): Promise<string> => (await render(...args)).body
const faultsOf = async (body: string, format: 'html' | 'text' = 'html'): Promise<string[]> =>
  (await renderer.faults({ subject: '', body }, format)).map(({ message }) => message)

suite('a rendered template', () => {
  test('holds the variables of its message', async () => {
    const rendered = await render(
      '{{ event.title }}, {{ user.name }}: {{ data.n }}',
      { n: 5 },
      'text',
      '{{ event.type }}',
      {
        name: 'Анна',
      },
    )

    expect(rendered).toEqual({ subject: 'job.done', body: 'Готово, Анна: 5' })
  })

  test('names the variable that is missing', async () => {
    await expect(render('\n{{ user.nmae }}')).rejects.toMatchObject({
      code: 'missing-variable',
      message: 'body, line 2: missing variable user.nmae',
    })
  })

  test('may say what stands for an optional variable', async () => {
    const body = '{{ user.name | default: "друг" }}{% if event.cta.url and data.x %}!{% endif %}{{ data.nothing }}'

    expect(await bodyOf(body, { nothing: null })).toBe('друг')
  })

  test('shows hostile values as they are in HTML and in plain text', async () => {
    const hostile = `<img src=x onerror=alert(1)>"'&`

    expect(await bodyOf('<p title="{{ data.x }}">{{ data.x }}</p>', { x: hostile })).toBe(
      '<p title="&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;">&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;</p>',
    )
    expect(await bodyOf('{{ data.x }}', { x: hostile }, 'text')).toBe(hostile)
  })

  test('keeps what would turn the text around out of it', async () => {
    expect(await bodyOf('{{ data.x }}', { x: 'a\u202Eb\u0000c\u2066d\ne' }, 'text')).toBe('abcd\ne')
  })

  test('has a subject of one short line', async () => {
    const { subject } = await render(
      '',
      { x: 'Hi\r\nBcc: evil@example.com\u2028\u0000' },
      'html',
      ' {{ data.x }}\n&  <b> ',
    )

    expect(subject).toBe('Hi Bcc: evil@example.com & <b>')
    expect(Array.from((await render('', { x: '😀'.repeat(300) }, 'html', '{{ data.x }}')).subject)).toHaveLength(200)
  })

  test.each([
    ['javascript:alert(1)', '#'],
    ['java\nscript:alert(1)', '#'],
    ['data:text/html,x', '#'],
    ['//evil.com', '#'],
    ['https://ok.com@evil.com', '#'],
    ['https://example.com/?a=1&b=2', 'https://example.com/?a=1&amp;b=2'],
    ['/app', '/app'],
  ])('leads for the address %j to %j', async (url, expected) => {
    expect(await bodyOf('<a href="{{ data.url }}">x</a>', { url })).toBe(`<a href="${expected}">x</a>`)
  })

  test('cannot be led astray by an address made of parts', async () => {
    const body = `<a href='{% if true %}java{% endif %}{{ data.a }}'>x</a><img src="{{ data.b }}{{ data.c }}">`

    expect(await bodyOf(body, { a: 'script:alert(1)', b: '/', c: '/evil.com' })).toBe(`<a href='#'>x</a><img src="#">`)
  })

  test('makes paths of the site absolute', async () => {
    expect(await bodyOf('<a href="{{ data.url | absolute_url: links.inbox }}">', { url: '/a' })).toBe(
      '<a href="https://example.com/a">',
    )
  })

  test('breaks lines without letting HTML in', async () => {
    expect(await bodyOf('{{ data.x | newline_to_br }}', { x: '<b>\nx' })).toBe('&lt;b&gt;<br>\nx')
    expect(await bodyOf('{{ data.x | escape }}{{ data.x | newline_to_br | upcase }}', { x: '<' })).toBe('&lt;&amp;LT;')
  })

  test('speaks the language and the time zone of its reader', async () => {
    const zone = { time_zone: 'Asia/Vladivostok' }

    expect(await bodyOf('{{ data.at | datetime }}', { at: '2026-05-05T20:30:00Z' }, 'text', '', zone)).toBe(
      '6 мая 2026 г. в 06:30 GMT+10',
    )
    expect(await bodyOf('{{ data.at | date: "%-d %B %Y, %H:%M" }}', { at: '2026-05-05T20:30:00Z' }, 'text')).toBe(
      '5 мая 2026, 20:30',
    )
    expect(
      await bodyOf('{{ 1706000000 | date: "short" }} {{ 1234.5 | number }} {{ 99 | money: "RUB" }}', {}, 'text'),
    ).toBe('23.01.2024 1\u00a0234,5 99,00\u00a0₽')
  })

  test('counts as Russians do', async () => {
    const numbers = [0, 1, 2, 4, 5, 11, 12, 14, 21, 22, 25, 101, 111, 1.5, 1e6]
    const body = '{% for n in data.numbers %}{{ n | plural: "one", "few", "many" }} {% endfor %}'

    expect(await bodyOf(body, { numbers }, 'text')).toBe(
      'many one few few many many many many one few many one many few many ',
    )
  })
})

suite('a template to be saved', () => {
  test.each([
    ['<p>{{ user.name }}</p>', []],
    ['<a href="{% if data.x %}/a{% else %}/b{% endif %}" title=\'{{ data.x }}\'>x</a>', []],
    ['<title>{{ event.title }}</title><style>p { color: red }</style><!-- x --><!doctype html>', []],
    ['{% for x in data.xs %}<li title="{% break %}">{{ x }}</li>{% endfor %}', ['line 1: break must stand']],
    ['{% for x in data.xs %}<li>{{ x }}{% if x == 1 %}{% break %}{% endif %}</li>{% endfor %}', []],
    ['{% for x in data.xs %}{% if x == 1 %}{% continue %}{% endif %}<li>{{ x }}</li>{% endfor %}', []],
    ['<a href={{ data.url }}>', ['line 1: put quotes around the value of href']],
    ['<a href=/x/{{ data.url }}>', ['line 1: put quotes around the value of href']],
    ['\n<{{ data.tag }}>', ['line 2: a variable may stand only in text']],
    ['<p {{ data.x }}>', ['a variable may stand only']],
    ['<p title{{ data.x }}="">', ['a variable may stand only']],
    ['<!-- {{ data.x }} -->', ['a variable may stand only']],
    ['<title></ti{{ data.x }}</title>', ['a variable may stand only']],
    ['<title>{% if data.x %}a<{% else %}b{% endif %}</title>', ['the branches of if']],
    ['<title>{% if data.x %}a{% else %}b{% endif %}</title>', []],
    ['<style>p { color: {{ data.x }} }</style>', ['a variable may stand only']],
    ['<p style="color: {{ data.x }}">', ['the attribute style']],
    ['<meta content="{{ data.x }}">', ['the attribute content']],
    ['<img srcset="{{ data.x }}">', ['the attribute srcset']],
    ['<script>alert(1)</script>', ['<script> is not allowed', '<script> is not allowed']],
    ['<p>\n<IFRAME src="/x"></p>', ['line 2: <iframe> is not allowed']],
    ['<img src="/x" OnError="x">', ['onerror is not allowed']],
    ['<a href="java&#115;cript:alert(1)">', ['the href must be']],
    ['<a href="//evil.com">', ['the href must be']],
    ['<meta http-equiv="Refresh" content="0">', ['a refresh']],
    ['<p {% if data.x %}title="{% endif %}{{ data.x }}">', ['the branches of if']],
    ['{% case data.x %}{% when 1 %}<p title="{% when 2 %}<p title="{% endcase %}', ['the branches of case']],
    ['{% for x in data.xs %}<p title="{% endfor %}', ['the body of a loop']],
    ['{% capture x %}<p title="{% endcapture %}', ['what is captured']],
    ['<p title="', ['ends inside a tag']],
    ['{{ usr.name }}', ['unknown variable usr']],
    ['{% include "x" %}', ['tag "include" not found']],
    ['{{ data.x | raw }}', ['undefined filter: raw']],
    ['{{ data.x', ['not closed']],
    ['<p\n{% if data.x %}', ['not closed']],
  ])('%j has the faults %j', async (body, expected) => {
    const faults = await faultsOf(body)

    for (const part of expected) expect(faults.join('\n')).toContain(part)
    if (expected.length === 0) expect(faults).toEqual([])
  })

  test('needs all plural forms of its language', async () => {
    const source = { subject: `{{ data.n | plural: 'file', 'files' }}`, body: `{{ 1 | plural: 'а', 'б', 'в' }}` }

    expect(await renderer.faults(source, 'text', 'en')).toEqual([])
    expect(await renderer.faults(source, 'text', 'ru')).toEqual([
      { field: 'subject', message: 'line 1: plural lacks the forms few, many of ru' },
    ])
  })

  test('that is plain text may hold anything but a fault of Liquid', async () => {
    expect(await faultsOf('<a href={{ data.x }}><script>{{ data.y }}', 'text')).toEqual([])
  })

  test('is at most 100 KB', async () => {
    expect(await faultsOf('x'.repeat(101 * 1024), 'text')).toEqual(['is larger than 100 KB'])
  })
})

/** Loops in loops. */
const nested = (times: number, inner: string): string =>
  Array.from({ length: times }, (_, level) => `{% for i${level} in (1..300) %}`).join('') +
  inner +
  '{% endfor %}'.repeat(times)

const ports = (): number => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort').length

suite('the cage', () => {
  const items = Array.from({ length: 8_000 }, (_, index) => index)
  const BOMBS: [string, string, Json?][] = [
    ['a long range', '{% for i in (1..100000000) %}{% endfor %}'],
    ['nested loops', nested(3, 'x')],
    ['nested empty loops', nested(5, '')],
    ['loops that only assign', nested(4, '{% assign x = 1 %}')],
    ['doubled text', `{% assign x = "aaaaaaaaaa" %}${'{% assign x = x | append: x %}'.repeat(40)}{{ x }}`],
    ['doubled lists', `{% assign x = data.items %}${'{% assign x = x | concat: x %}'.repeat(30)}{{ x | size }}`],
    [
      'captured doubles',
      `{% capture x %}aaaa{% endcapture %}${'{% capture x %}{{ x }}{{ x }}{% endcapture %}'.repeat(40)}{{ x }}`,
    ],
    ['replaced text', `{% assign x = data.text | replace: "a", data.text | replace: "a", data.text %}{{ x }}`],
    [
      'split text',
      `${'{% for i in (1..200) %}'.repeat(3)}{% assign x = data.text | split: "" | join: "aa" %}${'{% endfor %}'.repeat(3)}`,
    ],
    ['sorted lists', nested(2, '{% assign x = data.items | sort | reverse | uniq %}')],
    ['a date of ten million digits', '{{ data.at | date: "%9999999d" }}'],
    ['a date of a long pattern', `{{ data.at | date: "${'%Y'.repeat(200)}" }}`],
    ['an expression over a list', '{{ data.items | where_exp: "i", "i == 1" | size }}'],
    ['strip_html', '{{ data.text | strip_html }}'],
    ['json of a list', '{{ data.items | json }}'],
    ['a file', '{% render "/etc/passwd" %}'],
    ['another file', '{% layout "../../package.json" %}'],
    ['a block in itself', '{% block a %}{% block a %}{% endblock %}{% endblock %}'],
    ['the environment', '{{ env }}{{ process }}{{ globalThis }}'],
    ['the constructor', '{{ data.constructor.constructor }}'],
    ['the prototype', '{{ data.__proto__ }}{{ data["__proto__"] }}'],
    ['a filter of the prototype', '{{ data | constructor }}{{ data | toString }}'],
    ['a tag of the prototype', '{% constructor %}{% toString %}'],
    ['a deep template', '{% if 1 %}'.repeat(4_800) + '{% endif %}'.repeat(4_800)],
    ['many open tags', '{% if '.repeat(15_000)],
    [
      'many filters',
      `{{ "x" ${'| append: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"'.repeat(1_000)} ${'| append: data.text'.repeat(2_000)} }}`,
    ],
    ['a large output', `{% for i in (1..900) %}{{ data.text }}{% endfor %}`],
    [
      'a number without end',
      '{% assign x = 9 %}{% for i in (1..500) %}{% assign x = x | times: 999 %}{% endfor %}{{ x | number }}',
    ],
    [
      'a list in the middle of a loop',
      `{% for i in (1..9000) %}{% assign y = data.items | concat: data.items %}{% endfor %}`,
    ],
  ]

  test.each(BOMBS)('ends %s in time, and its neighbours do not notice', async (_, body) => {
    const data = { items, text: 'a<script '.repeat(1_000), at: '2026-01-01T00:00:00Z' }
    await render('warm', {}, 'text')
    const startedAt = performance.now()

    const bomb = render(body, data, 'text').catch((reason: unknown) => reason)
    const neighbours = await Promise.all(Array.from({ length: 5 }, () => bodyOf('{{ event.title }}')))
    const error = await bomb

    expect(error).toBeInstanceOf(TemplateError)
    expect(neighbours).toEqual(Array.from({ length: 5 }, () => 'Готово'))
    // 200 ms, the start of another thread, and patience for a busy machine.
    expect(performance.now() - startedAt).toBeLessThan(3_500)
  })

  test('stops a thread that is stuck inside one operation', async () => {
    const slow = liquidRenderer({ size: 1, limitMs: 5 })
    const body = `${'{% for i in (1..900) %}'.repeat(2)}{% assign x = data.items | sort_natural %}${'{% endfor %}'.repeat(2)}`
    const variables = { user: {}, event: {}, links: {}, data: { items } }

    await expect(slow.render({ subject: '', body }, 'text', variables, 'en')).rejects.toMatchObject({ code: 'timeout' })
    const ends = await Promise.all(
      Array.from({ length: 4 }, () => slow.render({ subject: '', body: 'x' }, 'text', variables, 'en')),
    )

    expect(ends.map((end) => end.body)).toEqual(['x', 'x', 'x', 'x'])
    await slow.close()
  })

  test('ends a thread that takes too much memory', async () => {
    const small = liquidRenderer({ size: 1, memoryMb: 16, limitMs: 3_000 })
    const twice = '{% capture x %}{{ x }}{{ x }}{% endcapture %}'
    const body = `{% assign x = "aaaa" %}${twice.repeat(40)}{{ x }}`
    const variables = { user: {}, event: {}, links: {}, data: {} }

    const bomb = small.render({ subject: '', body }, 'text', variables, 'en').catch((reason: unknown) => reason)
    const neighbour = await small.render({ subject: '', body: 'x' }, 'text', variables, 'en')

    expect(await bomb).toMatchObject({ code: 'too-large', message: 'the template asks for too much memory' })
    expect(neighbour.body).toBe('x')
    await small.close()
  })

  const twice = '{% capture x %}{{ x }}{{ x }}{% endcapture %}'
  test.each([
    ['timeout', 50, nested(2, '{% assign x = data.items | sort_natural %}')],
    ['too-large', 3_000, `{% assign x = "aaaa" %}${twice.repeat(40)}{{ x }}`],
  ])(
    'fails with %s one of many that a thread was given together, and renders the others',
    async (code, limitMs, bomb) => {
      const small = liquidRenderer({ size: 1, memoryMb: 16, limitMs })
      const renderAll = (bodies: string[]) =>
        Promise.allSettled(
          bodies.map(async (body) => {
            const variables = { user: {}, event: {}, links: {}, data: { items: items.slice(0, 1000) } }
            return (await small.render({ subject: '', body }, 'text', variables, 'en')).body
          }),
        )
      await renderAll(Array.from({ length: 200 }, () => 'quick'))
      const bodies = Array.from({ length: 60 }, (_, n) => (n % 30 === 20 ? bomb : `${n}`))

      const ends = await renderAll(bodies)

      expect(ends.map((end) => (end.status === 'fulfilled' ? end.value : (end.reason as TemplateError).code))).toEqual(
        bodies.map((body) => (body === bomb ? code : body)),
      )
      await small.close()
    },
  )

  test('takes no variables larger than 64 KB', async () => {
    await expect(render('x', { text: 'x'.repeat(65 * 1024) })).rejects.toMatchObject({ code: 'too-large' })
  })

  test('turns work away when too much is waiting', async () => {
    const small = liquidRenderer({ size: 1, maxWaiting: 3 })
    const source = { subject: '', body: 'x' }
    const variables = { user: {}, event: {}, links: {}, data: {} }

    const ends = await Promise.allSettled(
      Array.from({ length: 5 }, () => small.render(source, 'text', variables, 'en')),
    )

    expect(ends.filter((end) => end.status === 'fulfilled')).toHaveLength(3)
    expect(ends.find((end) => end.status === 'rejected')?.reason).toMatchObject({ code: 'unavailable' })
    await small.close()
  })

  test('is empty while nobody needs it', async () => {
    const lazy = liquidRenderer({ idleSeconds: 0.05 })
    const before = ports()
    const variables = { user: {}, event: {}, links: {}, data: {} }

    await lazy.render({ subject: '', body: 'x' }, 'text', variables, 'en')
    await sleep(500)

    expect(ports()).toBe(before)
    expect((await lazy.render({ subject: '', body: 'x' }, 'text', variables, 'en')).body).toBe('x')
    await lazy.close()
  })

  test('fails nobody who comes when a thread is about to end', async () => {
    const lazy = liquidRenderer({ size: 1, idleSeconds: 0.1 })
    const bodies = []
    for (let n = 0; n < 40; n++) {
      bodies.push(
        await lazy.render({ subject: '', body: `${n}` }, 'text', { user: {}, event: {}, links: {}, data: {} }, 'en'),
      )
      await sleep(100 + (n % 8))
    }

    expect(bodies.map(({ body }) => body)).toEqual(bodies.map((_, n) => `${n}`))
    await lazy.close()
  })

  test('leaves nobody waiting when it is closed in the middle of its work', async () => {
    const closing = liquidRenderer({ size: 1 })
    const variables = { user: {}, event: {}, links: {}, data: {} }
    const renderMany = (count: number) =>
      Promise.allSettled(
        Array.from({ length: count }, () =>
          closing.render({ subject: '', body: nested(1, 'x') }, 'text', variables, 'en'),
        ),
      )
    await renderMany(100)
    const ends = renderMany(500)

    await sleep(1)
    await closing.close()

    expect(new Set((await ends).map((end) => end.status))).toContain('rejected')
  })

  test('leaves nobody waiting when it is closed', async () => {
    const closing = liquidRenderer({ size: 1 })
    const variables = { user: {}, event: {}, links: {}, data: {} }
    const jobs = Array.from({ length: 3 }, () => closing.render({ subject: '', body: 'x' }, 'text', variables, 'en'))
    const ends = Promise.allSettled(jobs)

    await closing.close()

    expect((await ends).map((end) => end.status)).toEqual(['rejected', 'rejected', 'rejected'])
    await expect(closing.render({ subject: '', body: 'x' }, 'text', variables, 'en')).rejects.toThrow('stopping')
  })
})
