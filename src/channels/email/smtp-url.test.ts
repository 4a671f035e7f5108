import { expect, suite, test } from 'vitest'
import { parseSmtpUrl } from './smtp-url.ts'

suite('SMTP_URL', () => {
  test('says where and how mail is handed over', () => {
    expect(parseSmtpUrl('smtp://mail.example.com')).toEqual({
      host: 'mail.example.com',
      port: 587,
      isSecure: false,
      isLoopback: false,
      auth: null,
    })
    expect(parseSmtpUrl('smtps://me%40example.com:p%3Aw%2F%25@mail.example.com/')).toEqual({
      host: 'mail.example.com',
      port: 465,
      isSecure: true,
      isLoopback: false,
      auth: { user: 'me@example.com', pass: 'p:w/%' },
    })
    expect(parseSmtpUrl('smtp://localhost:25')).toMatchObject({ port: 25, isLoopback: true })
    expect(parseSmtpUrl('smtp://[::1]:1025')).toMatchObject({ host: '::1', port: 1025, isLoopback: true })
    expect(parseSmtpUrl('smtp://192.0.2.1')).toMatchObject({ host: '192.0.2.1', isLoopback: false })
  })

  test.each([
    'mail.example.com',
    'mail.example.com:587',
    'https://mail.example.com',
    'smtp://',
    'smtp:mail.example.com',
    'smtp://:25',
    'smtp://mail.example.com:0',
    'smtp://mail.example.com:99999',
    'smtp://mail.example.com/inbox',
    'smtp://mail.example.com?pool=true',
    'smtp://mail.example.com?',
    'smtp://mail.example.com#x',
    'smtp://secret@mail.example.com',
    'smtp://:secret@mail.example.com',
    'smtp://secret%0d%0a:x@mail.example.com',
    'smtp://secret%:x@mail.example.com',
    'smtp://mail example.com',
    'smtp://почта.рф',
    'smtp://-mail.example.com',
    'smtp://secret:x@mail.example.com,other.example.com',
  ])('%s is refused, without repeating it', (text) => {
    expect(() => parseSmtpUrl(text)).toThrow(/^expected /)
    expect(() => parseSmtpUrl(text)).not.toThrow(/secret/)
  })
})
