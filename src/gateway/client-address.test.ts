import type { IncomingMessage } from 'node:http'
import { expect, suite, test } from 'vitest'
import { clientAddress, type TrustedProxies } from './client-address.ts'

const addressOf = (trusted: TrustedProxies, remoteAddress: string, forwarded?: string): string => {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
  return clientAddress(trusted)({ headers, socket: { remoteAddress } } as unknown as IncomingMessage)
}

suite('the address of a client', () => {
  test.each<[string, TrustedProxies, string, string | undefined, string]>([
    ['is where it connects from', [], '203.0.113.7', undefined, '203.0.113.7'],
    ['is not what it claims', [], '203.0.113.7', '198.51.100.1', '203.0.113.7'],
    ['is what a trusted proxy says', ['10.0.0.0/8'], '10.0.0.2', '198.51.100.1', '198.51.100.1'],
    ['is not what it told the proxy', ['10.0.0.0/8'], '10.0.0.2', '192.0.2.9, 198.51.100.1', '198.51.100.1'],
    ['is seen through several proxies', ['10.0.0.0/8'], '10.0.0.2', '198.51.100.1, 10.0.0.3', '198.51.100.1'],
    ['is seen through a number of proxies', 2, '10.0.0.2', '192.0.2.9, 198.51.100.1, 10.0.0.3', '198.51.100.1'],
    ['is the proxy where it says nothing', 1, '10.0.0.2', undefined, '10.0.0.2'],
    ['is IPv4 also at an IPv6 socket', ['127.0.0.1'], '::ffff:127.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['may be IPv6', ['::1'], '::1', '2001:db8::1', '2001:db8::1'],
    ['is no nonsense', ['127.0.0.1'], '127.0.0.1', 'unknown, <script>', '127.0.0.1'],
  ])('%s', (_claim, trusted, remote, forwarded, expected) => {
    expect(addressOf(trusted, remote, forwarded)).toBe(expected)
  })
})
