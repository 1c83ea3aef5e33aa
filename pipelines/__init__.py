"""From prompts to a sealed dataset: plan, ask, journal, replay, seal. The only package that imports Apache Beam."""
