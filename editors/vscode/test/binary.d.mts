export function serverBinary(): string;
export function announced(binary: string): Promise<{ protocol: number; methods: string[]; openBuffers?: boolean }>;
