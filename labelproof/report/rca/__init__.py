"""Why a rate changed: what it is made of, where it is worst, what each error's evidence says, what to do."""
