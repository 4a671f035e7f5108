import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'

/** Proxies whose X-Forwarded-For counts: by address or network, or the number of them in front of us. */
export type TrustedProxies = readonly string[] | number

/**
 * Who really connects, for limits per address: the first address, seen from us, that is no trusted proxy. What stands
 * further left in X-Forwarded-For may be invented by the client.
 */
export function clientAddress(trusted: TrustedProxies): (request: IncomingMessage) => string {
  const isTrusted = trustRule(trusted)

  return (request) => {
    const forwarded = String(request.headers['x-forwarded-for'] ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => isIP(part) !== 0)
    const hops = [request.socket.remoteAddress ?? '', ...forwarded.toReversed()].map(plain)
    return hops.find((address, hop) => !isTrusted(address, hop)) ?? hops.at(-1) ?? ''
  }
}

function trustRule(trusted: TrustedProxies): (address: string, hop: number) => boolean {
  if (typeof trusted === 'number') return (_address, hop) => hop < trusted

  const list = new BlockList()
  for (const entry of trusted) {
    const [network = '', prefix] = entry.split('/')
    const family = isIP(network) === 6 ? 'ipv6' : 'ipv4'
    if (prefix === undefined) list.addAddress(network, family)
    else list.addSubnet(network, Number(prefix), family)
  }
  return (address) => isIP(address) !== 0 && list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

/** IPv4 as IPv4, also where it arrived at an IPv6 socket. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')
