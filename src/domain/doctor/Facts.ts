/** What `dispy doctor` gathers, before anything is made of it. */

/** What runs here. */
export interface VersionFacts {
  /** Of Node, like "24.21.0". */
  readonly node: string
  readonly dispy: string
  readonly protocol: number
}

/** A network interface that is up. */
export interface InterfaceFact {
  readonly name: string
  /** With the length of the prefix: "10.0.0.7/24". */
  readonly addresses: ReadonlyArray<string>
  /** Reaches this machine only. */
  readonly isInternal: boolean
}

/** A process that has a socket. */
export interface HolderFact {
  readonly pid: number
  /** "dispynode", or what it was started as. */
  readonly program: string
  /** One of this package's programs. */
  readonly isDispy: boolean
}

/** One of the ports that dispy uses, on this machine. */
export interface PortFact {
  readonly transport: "tcp" | "udp"
  readonly port: number
  readonly side: "node" | "client"
  readonly isTaken: boolean
  /** Who has it; undefined for a process of another user. */
  readonly holder: HolderFact | undefined
}

/** A file of the user's credentials. */
export interface KeyFileFact {
  /** "--secret-file", "DISPY_SECRET_FILE", "--certfile" … */
  readonly where: string
  readonly file: string
  /** Others must not read it. */
  readonly isPrivate: boolean
  /** Why it cannot be read; empty when it can. */
  readonly unreadable: string
  /** Permission bits; 0 when it cannot be read. */
  readonly mode: number
}

/** A certificate of the user's credentials. */
export interface CertificateFact {
  readonly where: string
  readonly file: string
  readonly subject: string
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
}

/** What lets this machine's programs in elsewhere, as far as it can be checked without anybody else. */
export interface CredentialFacts {
  readonly kind: "none" | "secret" | "certificate" | "both"
  /** Why clusters do not take them; empty when they do. */
  readonly refusal: string
  readonly files: ReadonlyArray<KeyFileFact>
  /** Where the secret comes from, and its length in characters; undefined without one. */
  readonly secret: { readonly where: string; readonly characters: number } | undefined
  readonly certificates: ReadonlyArray<CertificateFact>
  /** What does not fit together: a key that is not the certificate's, say. Sentences with the way out. */
  readonly mismatches: ReadonlyArray<{ readonly message: string; readonly fix: string }>
}

/** Where a dispynode on this machine would keep its files. */
export interface DestinationFacts {
  readonly directory: string
  /** Why it cannot be written to; empty when it can. */
  readonly unusable: string
  readonly freeBytes: number
}

/** What became of a TCP connection. */
export type TcpFact =
  | { readonly _tag: "Connected"; readonly ipAddr: string; readonly millis: number }
  /** `code` is the system's: "ECONNREFUSED". */
  | { readonly _tag: "NotConnected"; readonly code: string }

/** What the other end of a connection said. */
export type HelloFact =
  | {
    readonly _tag: "Greeted"
    readonly name: string
    readonly version: string
    readonly cpus: number
    readonly freeDiskBytes: number
  }
  | { readonly _tag: "OtherVersion"; readonly version: string }
  | { readonly _tag: "NoGreeting"; readonly reason: string }

/** What became of a datagram. */
export type UdpFact =
  | { readonly _tag: "Answered"; readonly millis: number }
  | { readonly _tag: "Silent" }
  /** What came back cannot be read here, or says that the node could not read what it got: as a kind of datagrams. */
  | { readonly _tag: "Unheeded"; readonly meaning: string }

/** What became of a job. */
export type JobFact =
  | {
    readonly _tag: "Ran"
    readonly millis: number
    /** How far the node's clock is ahead of this machine's, in milliseconds, and how far off that may be. */
    readonly clockAhead: number
    readonly clockDoubt: number
  }
  | { readonly _tag: "Busy"; readonly reason: string }
  | { readonly _tag: "Failed"; readonly reason: string }

/** A node, from here; what was not tried because of what came before is undefined. */
export interface NodeFacts {
  /** As it was listed: "local", "alpha:51348". */
  readonly address: string
  readonly tcp: TcpFact | undefined
  readonly hello: HelloFact | undefined
  readonly udp: UdpFact | undefined
  readonly job: JobFact | undefined
}

/** What a listening socket asks of those who connect. */
export type Authentication =
  | { readonly _tag: "None" }
  | { readonly _tag: "Secret" }
  | { readonly _tag: "Certificate"; readonly subject: string; readonly notAfter: number }
  /** A socket in the file system: who may enter its directory. */
  | { readonly _tag: "FileMode"; readonly mode: number }
  /** Datagrams cause nothing but connections, which are authenticated. */
  | { readonly _tag: "Datagrams" }
  /** Nodes that dial out park connections, in which the client authenticates them. */
  | { readonly _tag: "Announcements" }
  | { readonly _tag: "Unknown"; readonly reason: string }

/** A socket of a dispy process of this user that peers can reach. */
export interface SocketFact {
  readonly pid: number
  readonly program: string
  readonly transport: "tcp" | "udp" | "unix"
  /** Path of a socket in the file system. */
  readonly address: string
  /** 0 for a socket in the file system. */
  readonly port: number
  readonly authentication: Authentication
}

/** Everything that was gathered. */
export interface Facts {
  readonly versions: VersionFacts
  readonly interfaces: ReadonlyArray<InterfaceFact>
  /** Undefined where the system does not tell. */
  readonly ports: ReadonlyArray<PortFact> | undefined
  readonly credentials: CredentialFacts
  readonly destination: DestinationFacts
  readonly nodes: ReadonlyArray<NodeFacts>
  /** Undefined when it was not asked for, or the system does not tell. */
  readonly sockets: ReadonlyArray<SocketFact> | undefined
}
