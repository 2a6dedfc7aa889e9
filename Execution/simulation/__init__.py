"""The paper account: durable, shared by processes, fed by a price source, traded on the matching engine."""
