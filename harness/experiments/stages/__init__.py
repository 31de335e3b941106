"""The kinds of stage, one file each: its parameters, what it reads, what it computes and which rows it gives."""
