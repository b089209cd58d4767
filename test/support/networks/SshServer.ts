/** A real `sshd` on a host, and what other hosts need to log in there without being asked anything. */
import * as fs from "node:fs"
import { userInfo } from "node:os"
import { delimiter, join } from "node:path"
import type { Host } from "./Host.ts"

/** An `sshd` that takes connections, until the networks of its host are closed. */
export interface SshServer {
  /**
   * Lets a host log in to this server under the host's name, as it would with keys and an entry in `~/.ssh/config`.
   * Returns the environment in which its programs find `ssh` so prepared.
   */
  readonly admit: (client: Host) => Promise<Record<string, string>>
}

/** Where sshd is, which is not in the search path of all users. */
const paths = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"]

/** Its path; undefined where there is none. */
export const installed = (): string | undefined => paths.find((path) => fs.existsSync(path))

const serverConfig = (host: Host): string => `
ListenAddress ${host.links[0]?.ipv4 ?? host.links[0]?.ipv6}
HostKey ${join(host.directory, "hostKey")}
AuthorizedKeysFile ${join(host.directory, "authorizedKeys")}
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
`

const clientConfig = (server: Host, key: string): string => `
Host ${server.name}
  HostName ${server.links[0]?.ipv4 ?? server.links[0]?.ipv6}
  User ${userInfo().username}
  IdentityFile ${key}
  IdentitiesOnly yes
  BatchMode yes
  LogLevel ERROR
  StrictHostKeyChecking accept-new
  UserKnownHostsFile ${key}.knownHosts
`

/** Starts one on the first address of a host, on port 22. */
export const start = async (host: Host): Promise<SshServer> => {
  const config = join(host.directory, "sshd.conf")
  const authorized = join(host.directory, "authorizedKeys")
  fs.writeFileSync(config, serverConfig(host))
  fs.writeFileSync(authorized, "")
  await host.must("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(host.directory, "hostKey")])
  // sshd wants a directory of its own, which only the start of the system makes; here it is on a disk that only the
  // host sees. Without -D it would leave this process, and without -e say nothing.
  const script = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$0\" -D -e -f \"$1\""
  const daemon = host.spawn("sh", ["-c", script, installed()!, config])
  await new Promise<void>((resolve, reject) => {
    let said = ""
    daemon.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text
      if (said.includes("Server listening on")) resolve()
    })
    const early = (status: unknown): void =>
      reject(new Error(`sshd of ${host.name} ended with ${String(status)}: ${said}`))
    daemon.ended.then(early, early)
  })
  return {
    admit: async (client) => {
      const key = join(client.directory, `key-${host.name}`)
      await client.must("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key])
      fs.appendFileSync(authorized, fs.readFileSync(`${key}.pub`))
      const bin = join(client.directory, "bin")
      fs.mkdirSync(bin, { recursive: true })
      fs.appendFileSync(join(bin, "config"), clientConfig(host, key))
      // In the place of the user's own configuration, which ssh does not look for in $HOME.
      fs.writeFileSync(join(bin, "ssh"), `#!/bin/sh\nexec /usr/bin/ssh -F ${join(bin, "config")} "$@"\n`, {
        mode: 0o755
      })
      return { PATH: `${bin}${delimiter}${process.env["PATH"]}` }
    }
  }
}
