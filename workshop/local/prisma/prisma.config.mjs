// For `migrate diff` without a downloaded schema engine: Prisma 6 can do it by itself, with an adapter.
import { PrismaPg } from "adapter-pg-6";

export default {
  experimental: { adapter: true },
  engine: "js",
  adapter: async () => new PrismaPg({ connectionString: process.env.DATABASE_URL }),
};
