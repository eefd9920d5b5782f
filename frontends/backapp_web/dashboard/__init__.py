"""Pages for people: drawn here, of use without JavaScript, which adds live updates only."""
