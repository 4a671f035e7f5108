import { configOfProcess } from '../config.ts'
import { AppError } from '../core/errors.ts'
import { userTokens } from '../http/user-token.ts'
import { secretsOf, tokenKeys } from '../secrets.ts'
import { seconds } from './duration.ts'
import { print } from './print.ts'

/** `eventcenter token create`: a token with which an end user reads his notifications, on stdout. */
export async function createToken(options: {
  user: string
  company?: string
  role?: string[]
  ttl: string
}): Promise<void> {
  const config = configOfProcess()
  const keys = tokenKeys(config, await secretsOf(config))
  const tokens = userTokens(keys, { issuer: config.JWT_ISSUER, audience: config.JWT_AUDIENCE })
  if (!tokens.sign) throw new AppError('invalid', 'With JWKS_URL the issuer makes the tokens, not EventCenter')
  const token = await tokens.sign({
    userId: options.user,
    seconds: seconds(options.ttl),
    ...(options.company !== undefined && { companyId: options.company }),
    ...(options.role !== undefined && { roles: options.role }),
  })
  await tokens.verify(token) // what the server would refuse is not given out
  print(token)
}
