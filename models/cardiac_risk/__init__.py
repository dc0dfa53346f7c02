"""Risk of heart disease from 14 routine columns: a logistic model, trained across hospitals.

``inputs`` is the one table of public constants, ``risk`` the model as the registry gives it out,
``module`` the same prediction as a torch module. No file, no network, no patient data.
"""
