"""The commands of somebody who has certificates: they find them, explain them and upload them."""
