"""What is computed: attention that keeps documents apart, the losses, and the head that makes their gradient."""
