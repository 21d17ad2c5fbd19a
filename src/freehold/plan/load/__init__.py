"""The load: when calls came, replicas that batch them, and how many it takes."""
