import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { explain } from './explain.ts'
import { ROLES } from '../settings.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

/** An empty company would be that of the platform, which may act for all: a script's unset variable must not say so. */
function filled(value: string): string {
  if (value.trim() === '') throw new InvalidArgumentError('It must not be empty.')
  return value
}

const program = new Command('eventcenter')
  .description('A notification centre: one event in, every person told once, every delivery accounted for.')
  .version(version)
  .showHelpAfterError()

program
  .command('serve')
  .description('run a server')
  .argument('[roles...]', `what this process does: ${ROLES.join(', ')}; all unless said otherwise`)
  .action(async (roles: string[]) => (await import('./serve.ts')).serve(roles))

program
  .command('migrate')
  .description('bring the tables of the database to this version')
  .action(async () => (await import('./migrate.ts')).migrateCommand())

const key = program.command('key').description('keys of services')
key
  .command('create')
  .description('make an API key; it is printed once')
  .requiredOption('--name <name>', 'whose key it is', filled)
  .requiredOption('--scope <scopes...>', 'what it may do: all, or scopes such as events:write')
  .option('--company <id>', 'the one company it may act for; every company unless said otherwise', filled)
  .option('--ttl <duration>', 'how long it is valid, such as 90d; for ever unless said otherwise')
  .action(async (options) => (await import('./key.ts')).createKey(options))
key
  .command('list')
  .description('list the API keys')
  .option('--company <id>', 'of one company only')
  .action(async (options) => (await import('./key.ts')).listKeys(options))
key
  .command('revoke')
  .description('end an API key for good')
  .argument('<id>', 'as `key list` shows it')
  .action(async (id: string) => (await import('./key.ts')).revokeKey(id))

program
  .command('token')
  .description('tokens of end users')
  .command('create')
  .description('make a token with which one user reads his notifications')
  .requiredOption('--user <id>', 'the user')
  .option('--company <id>', 'his company', filled)
  .option('--role <roles...>', 'his roles')
  .option('--ttl <duration>', 'how long it is valid, such as 15m, 12h or 30d', '1h')
  .action(async (options) => (await import('./token.ts')).createToken(options))

program
  .command('send')
  .description('send one event to the running server')
  .requiredOption('--to <user>', 'the user to tell')
  .requiredOption('--type <type>', 'type of the event')
  .requiredOption('--title <text>', 'its title')
  .requiredOption('--body <text>', 'its text')
  .option('--level <level>', 'info, warning, error or critical')
  .option('--channel <channels...>', 'channels instead of those of the type')
  .option('--data <json>', 'its data, a JSON object')
  .option('--url <url>', 'another server than the one on this machine')
  .action(async (options) => (await import('./send.ts')).sendEvent(options))

program
  .command('doctor')
  .description('look at everything a server needs; fails when there is a problem')
  .action(async () => {
    const { doctor } = await import('./doctor.ts')
    if (!(await doctor())) process.exitCode = 1
  })

program
  .command('verify')
  .description('prove that nothing was lost or sent twice; fails when a rule is broken')
  .option('--receiver-log <files...>', 'what receivers took: JSON lines with job_id or message_id, or folders of them')
  .option('--complete <channels...>', 'the receiver logs hold all that was sent over these channels')
  .option('--accepted-log <files...>', 'what senders were answered with 202: JSON lines with event_id')
  .option('--since <duration>', 'only what was accepted since then, such as 24h')
  .option('--json', 'for programs')
  .action(async (options) => {
    const { verify } = await import('./verify.ts')
    if (!(await verify(options))) process.exitCode = 1
  })

program
  .command('config')
  .description('show all settings, without secrets')
  .option('--markdown', 'the page docs/configuration.md')
  .action(async (options) => (await import('./config.ts')).configCommand(options))

program
  .command('version')
  .description('show the version')
  .action(() => void process.stdout.write(`${version}\n`))

// `eventcenter config | head` is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

/** Runs the command that the process was started with. Ends the process with 1 when it fails. */
export async function run(): Promise<void> {
  try {
    await program.parseAsync()
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`)
    process.exit(1)
  }
}
