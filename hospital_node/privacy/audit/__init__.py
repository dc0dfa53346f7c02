"""The privacy claim under attack: by us, with the code that runs in a hospital, before anyone else.

``canaries`` plays the distinguishing game of the definition, ``noise_test`` looks at the noise
itself, ``one_run`` attacks large models in a single training, ``lira`` infers membership in public
data. ``report`` puts the first three into one verdict, the release gate: it uses made-up patients
and the mechanism, never a record, so that passing or failing says nothing about anyone.
"""
