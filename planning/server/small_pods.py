"""Requests of pods beside the servers, whose sizes follow from nothing else."""

from planning.plan.servers import Requests
from planning.server import scratch

# It keeps counters of limits, and nothing else.
REDIS, REDIS_LIMIT_MIB = Requests(100, 128, scratch.REDIS.disk_mib), 256
# A quarter of its memory are its own buffers (shared_buffers, 128 MiB), and each connection has a process.
POSTGRES, POSTGRES_LIMIT_MIB = Requests(250, 512, scratch.POSTGRES.disk_mib), 1024
# The same, with the operator's program beside it, which reads metrics and takes part in backups.
POSTGRES_INSTANCE, POSTGRES_INSTANCE_LIMIT_MIB = Requests(300, 768, scratch.POSTGRES.disk_mib), 1536
# A Python with PyTorch, whose model of embeddings (90 MB) finds passages in uploaded files.
CHAT_UI, CHAT_UI_LIMIT_MIB = Requests(500, 2048, scratch.CHAT_UI.disk_mib), 4096
# A Python that lists nodes.
VERIFICATION = Requests(50, 64, scratch.VERIFICATION.disk_mib)
VERIFICATION_LIMIT = Requests(500, 256, 0)
# A Python that asks the gateway, one request at a time, and holds the answers of a few thousand keys.
TEAMS, TEAMS_LIMIT_MIB = Requests(50, 64, scratch.LOGS_MIB), 512
# A Python that does nothing, once for every image that a node pulls beforehand.
PULLER = Requests(10, 32, scratch.LOGS_MIB)
PULLER_LIMIT_MIB = 128
# Cores of a download, which hashes what it gets, and of what looks at weights before a server starts.
DOWNLOAD_CPUS, OPENING_CPUS = 2, 1
# It reads file by file, a part at a time.
SIGNATURE_MEMORY_GIB = 1
